import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { Request, VHOST_USER_PROTOCOL_F_MQ } from "../../../src/vhost_user/numbers.ts";
import { REQUESTS, ruleOf } from "../../../src/vhost_user/requests.ts";

Deno.test("REQUESTS has a rule with the right name for every request", () => {
  for (const [name, number] of Object.entries(Request)) {
    strictEqual(REQUESTS[number].name, name);
    strictEqual(ruleOf(number), REQUESTS[number]);
  }
});

Deno.test("REQUESTS wants the payloads of the specification", () => {
  const want: Record<string, readonly [number, number]> = {
    GET_FEATURES: [0, 0],
    SET_FEATURES: [8, 8],
    SET_OWNER: [0, 0],
    RESET_OWNER: [0, 0],
    SET_MEM_TABLE: [8, 8 + 8 * 32],
    SET_VRING_NUM: [8, 8],
    SET_VRING_ADDR: [40, 40],
    SET_VRING_BASE: [8, 8],
    GET_VRING_BASE: [8, 8],
    SET_VRING_KICK: [8, 8],
    SET_VRING_CALL: [8, 8],
    SET_VRING_ERR: [8, 8],
    GET_PROTOCOL_FEATURES: [0, 0],
    SET_PROTOCOL_FEATURES: [8, 8],
    GET_QUEUE_NUM: [0, 0],
    SET_VRING_ENABLE: [8, 8],
  };
  deepStrictEqual(
    Object.fromEntries(Object.values(REQUESTS).map(({ name, bytes }) => [name, bytes])),
    want,
  );
});

Deno.test("REQUESTS allows descriptors with the memory table, kick, call and error only", () => {
  const withFds = Object.values(REQUESTS).filter(({ fds }) => fds[1] > 0);
  deepStrictEqual(Object.fromEntries(withFds.map(({ name, fds }) => [name, fds])), {
    SET_MEM_TABLE: [0, 8],
    SET_VRING_KICK: [0, 1],
    SET_VRING_CALL: [0, 1],
    SET_VRING_ERR: [0, 1],
  });
});

Deno.test("REQUESTS gives replies to the requests that ask for a value", () => {
  const replied = Object.values(REQUESTS).filter(({ hasReply }) => hasReply);
  ok(replied.every(({ name }) => name.startsWith("GET_")));
  strictEqual(
    replied.length,
    Object.keys(Request).filter((name) => name.startsWith("GET_")).length,
  );
});

Deno.test("REQUESTS allows GET_QUEUE_NUM only after multiqueue was negotiated", () => {
  const gated = Object.values(REQUESTS).filter(({ gate }) => gate !== undefined);
  deepStrictEqual(gated.map(({ name, gate }) => [name, gate]), [
    ["GET_QUEUE_NUM", VHOST_USER_PROTOCOL_F_MQ],
  ]);
});

Deno.test("ruleOf returns null for a request that is not known", () => {
  for (const number of [0, 6, 7, 19, 1000, -1, 0xffffffff]) strictEqual(ruleOf(number), null);
});
