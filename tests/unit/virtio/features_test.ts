import { deepStrictEqual, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import {
  acceptable,
  featureNames,
  featureSet,
  hasFeature,
  headerLength,
  VHOST_USER_F_PROTOCOL_FEATURES,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_CSUM,
  VIRTIO_NET_F_GUEST_CSUM,
  VIRTIO_NET_F_GUEST_ECN,
  VIRTIO_NET_F_GUEST_TSO4,
  VIRTIO_NET_F_GUEST_TSO6,
  VIRTIO_NET_F_GUEST_USO4,
  VIRTIO_NET_F_HOST_ECN,
  VIRTIO_NET_F_HOST_TSO4,
  VIRTIO_NET_F_HOST_TSO6,
  VIRTIO_NET_F_HOST_USO,
  VIRTIO_NET_F_MRG_RXBUF,
  VIRTIO_NET_F_STATUS,
} from "../../../src/virtio/features.ts";

Deno.test("featureSet sets bit n for feature n, above 31 as well", () => {
  strictEqual(featureSet(), 0n);
  strictEqual(featureSet(VIRTIO_NET_F_CSUM), 1n);
  strictEqual(featureSet(VIRTIO_F_VERSION_1, VIRTIO_F_EVENT_IDX), 0x1_2000_0000n);
  strictEqual(featureSet(31, 63), 0x8000_0000_8000_0000n);
});

Deno.test("hasFeature is true for the bits of the set and for no others", () => {
  fc.assert(fc.property(fc.uniqueArray(fc.nat(63)), (bits) => {
    const set = featureSet(...bits);
    for (let bit = 0; bit < 64; bit++) strictEqual(hasFeature(set, bit), bits.includes(bit));
  }));
});

Deno.test("featureNames names features in the order of their bits", () => {
  const set = featureSet(
    VIRTIO_F_RING_PACKED,
    VIRTIO_F_VERSION_1,
    VHOST_USER_F_PROTOCOL_FEATURES,
    VIRTIO_NET_F_STATUS,
    VIRTIO_NET_F_CSUM,
  );
  const names = ["csum", "status", "protocol_features", "version_1", "ring_packed"];
  deepStrictEqual(featureNames(set), names);
  deepStrictEqual(featureNames(0n), []);
});

Deno.test("featureNames shows the number of a bit that has no name", () => {
  deepStrictEqual(featureNames(featureSet(4, 50)), ["bit4", "bit50"]);
});

Deno.test("featureNames has a different name for every bit", () => {
  strictEqual(new Set(featureNames(2n ** 64n - 1n)).size, 64);
});

Deno.test("headerLength is 10 bytes only for legacy drivers without mergeable buffers", () => {
  strictEqual(headerLength(0n), 10);
  strictEqual(headerLength(featureSet(VIRTIO_F_EVENT_IDX)), 10);
  strictEqual(headerLength(featureSet(VIRTIO_NET_F_MRG_RXBUF)), 12);
  strictEqual(headerLength(featureSet(VIRTIO_F_VERSION_1)), 12);
  strictEqual(headerLength(featureSet(VIRTIO_F_VERSION_1, VIRTIO_NET_F_MRG_RXBUF)), 12);
});

Deno.test("acceptable leaves out what is worth nothing alone (5.1.3.1)", () => {
  const whole = featureSet(
    ...[VIRTIO_NET_F_CSUM, VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_HOST_ECN, VIRTIO_NET_F_HOST_USO],
    ...[VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_ECN],
    ...[VIRTIO_F_VERSION_1, VIRTIO_F_RING_PACKED, VIRTIO_NET_F_MRG_RXBUF],
  );
  strictEqual(acceptable(whole), whole);
  const without = (feature: number) => whole & ~featureSet(feature);
  const lost = (feature: number) => featureNames(without(feature) & ~acceptable(without(feature)));
  deepStrictEqual(lost(VIRTIO_NET_F_CSUM), ["host_tso4", "host_ecn", "host_uso"]);
  deepStrictEqual(lost(VIRTIO_NET_F_HOST_TSO4), ["host_ecn"]);
  deepStrictEqual(lost(VIRTIO_NET_F_GUEST_CSUM), ["guest_tso6", "guest_ecn"]);
  deepStrictEqual(lost(VIRTIO_NET_F_GUEST_TSO6), ["guest_ecn"]);
  deepStrictEqual(lost(VIRTIO_F_VERSION_1), ["ring_packed"]);
});

Deno.test("acceptable keeps ECN with either family", () => {
  for (const tso of [VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_HOST_TSO6]) {
    const set = featureSet(VIRTIO_NET_F_CSUM, tso, VIRTIO_NET_F_HOST_ECN);
    strictEqual(acceptable(set), set);
  }
  for (const tso of [VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_USO4]) {
    strictEqual(acceptable(featureSet(tso)), 0n);
  }
});
