import { deepStrictEqual, match, strictEqual } from "node:assert/strict";
import type { ProbeReport } from "../../../src/probe/probe.ts";
import {
  headingText,
  offerText,
  reportJson,
  resultText,
  totalText,
} from "../../../src/probe/report.ts";
import type { CheckResult } from "../../../src/probe/verdict.ts";

const OFFER = { features: 3n, protocolFeatures: 9n, queuePairs: 2n, memorySlots: null };
const RESULT: CheckResult = {
  ...{ id: "mtu", title: "an MTU of 1500 is taken", clause: "vhost-user, NET_SET_MTU" },
  ...{ verdict: "deviates", detail: "it refused NET_SET_MTU with 1" },
};

Deno.test("offerText names what is offered, and says what is not told", () => {
  deepStrictEqual(offerText(OFFER).trimEnd().split("\n"), [
    "features           csum, guest_csum",
    "protocol features  mq, reply_ack",
    "queue pairs        2",
    "memory slots       not told",
  ]);
  match(offerText({ ...OFFER, features: 0n }), /^features +none$/m);
});

Deno.test("resultText puts its columns below those of the heading", () => {
  const [heading, line] = [headingText(), resultText(RESULT)];
  for (const [name, cell] of [["CHECK", RESULT.title], ["DETAIL", RESULT.detail]] as const) {
    strictEqual(line.indexOf(cell), heading.indexOf(name));
  }
});

Deno.test("totalText counts verdicts", () => {
  const results = [RESULT, { ...RESULT, verdict: "ok" as const }];
  strictEqual(totalText(results), "2 checks: 1 ok, 1 deviates, 0 not offered, 0 no answer\n");
});

Deno.test("reportJson has sets of 64 bits as text, and every result", () => {
  const report: ProbeReport = { offer: OFFER, results: [RESULT] };
  const { offer, checks, isClean } = JSON.parse(reportJson(report));
  deepStrictEqual(offer, {
    features: { bits: "0x3", names: ["csum", "guest_csum"] },
    protocolFeatures: { bits: "0x9", names: ["mq", "reply_ack"] },
    queuePairs: "2",
    memorySlots: null,
  });
  deepStrictEqual([checks, isClean], [[RESULT], false]);
});
