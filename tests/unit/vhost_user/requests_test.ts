import { deepStrictEqual, strictEqual } from "node:assert/strict";
import {
  Request,
  VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
  VHOST_USER_PROTOCOL_F_LOG_SHMFD,
  VHOST_USER_PROTOCOL_F_MQ,
  VHOST_USER_PROTOCOL_F_NET_MTU,
  VHOST_USER_PROTOCOL_F_RARP,
  VHOST_USER_PROTOCOL_F_RESET_DEVICE,
  VHOST_USER_PROTOCOL_F_STATUS,
} from "../../../src/vhost_user/numbers.ts";
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
    SET_LOG_BASE: [16, 16],
    SET_LOG_FD: [0, 0],
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
    SEND_RARP: [8, 8],
    NET_SET_MTU: [8, 8],
    RESET_DEVICE: [0, 0],
    GET_MAX_MEM_SLOTS: [0, 0],
    ADD_MEM_REG: [40, 40],
    REM_MEM_REG: [40, 40],
    SET_STATUS: [8, 8],
    GET_STATUS: [0, 0],
  };
  deepStrictEqual(
    Object.fromEntries(Object.values(REQUESTS).map(({ name, bytes }) => [name, bytes])),
    want,
  );
});

Deno.test("REQUESTS allows descriptors with memory, log, kick, call and error only", () => {
  const withFds = Object.values(REQUESTS).filter(({ fds }) => fds[1] > 0);
  deepStrictEqual(Object.fromEntries(withFds.map(({ name, fds }) => [name, fds])), {
    SET_MEM_TABLE: [0, 8],
    SET_LOG_BASE: [1, 1],
    SET_LOG_FD: [1, 1],
    SET_VRING_KICK: [0, 1],
    SET_VRING_CALL: [0, 1],
    SET_VRING_ERR: [0, 1],
    ADD_MEM_REG: [1, 1],
    REM_MEM_REG: [0, 1],
  });
});

Deno.test("REQUESTS gives replies to the requests that ask for a value, and to SET_LOG_BASE", () => {
  const replied = Object.values(REQUESTS).filter(({ hasReply }) => hasReply);
  const names = Object.keys(Request);
  deepStrictEqual(
    replied.map(({ name }) => name),
    names.filter((name) => name.startsWith("GET_") || name === "SET_LOG_BASE"),
  );
});

Deno.test("REQUESTS wants rings to stand still for what they work on", () => {
  const quiet = Object.values(REQUESTS).filter(({ needsQuiet }) => needsQuiet);
  deepStrictEqual(quiet.map(({ name }) => name), [
    "SET_FEATURES",
    "SET_MEM_TABLE",
    "SET_LOG_BASE",
    "NET_SET_MTU",
    "ADD_MEM_REG",
    "REM_MEM_REG",
  ]);
});

Deno.test("REQUESTS names the protocol feature that must be negotiated first", () => {
  const gated = Object.values(REQUESTS).filter(({ gate }) => gate !== undefined);
  deepStrictEqual(gated.map(({ name, gate }) => [name, gate]), [
    ["SET_LOG_BASE", VHOST_USER_PROTOCOL_F_LOG_SHMFD],
    ["GET_QUEUE_NUM", VHOST_USER_PROTOCOL_F_MQ],
    ["SEND_RARP", VHOST_USER_PROTOCOL_F_RARP],
    ["NET_SET_MTU", VHOST_USER_PROTOCOL_F_NET_MTU],
    ["RESET_DEVICE", VHOST_USER_PROTOCOL_F_RESET_DEVICE],
    ["GET_MAX_MEM_SLOTS", VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS],
    ["ADD_MEM_REG", VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS],
    ["REM_MEM_REG", VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS],
    ["SET_STATUS", VHOST_USER_PROTOCOL_F_STATUS],
    ["GET_STATUS", VHOST_USER_PROTOCOL_F_STATUS],
  ]);
});

Deno.test("ruleOf returns null for a request that is not known", () => {
  for (const number of [0, 21, 35, 41, 1000, -1, 0xffffffff]) strictEqual(ruleOf(number), null);
});
