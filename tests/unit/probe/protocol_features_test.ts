import { deepStrictEqual, strictEqual } from "node:assert/strict";
import {
  KNOWN_PROTOCOL_FEATURES,
  protocolFeatureNames,
} from "../../../src/probe/protocol_features.ts";

Deno.test("protocolFeatureNames names features in the order of their bits", () => {
  deepStrictEqual(protocolFeatureNames(0n), []);
  deepStrictEqual(protocolFeatureNames(1n << 16n | 1n << 3n | 1n), ["mq", "reply_ack", "status"]);
});

Deno.test("protocolFeatureNames shows the number of a bit that has no name", () => {
  deepStrictEqual(protocolFeatureNames(1n << 24n | 1n << 63n), ["bit24", "bit63"]);
});

Deno.test("KNOWN_PROTOCOL_FEATURES ends with bit 23", () => {
  strictEqual(KNOWN_PROTOCOL_FEATURES, 0xff_ffffn);
  strictEqual(new Set(protocolFeatureNames(2n ** 64n - 1n)).size, 64);
});
