/**
 * Checks of what a back-end offers, and of messages without rings.
 *
 * @module
 */
import {
  featureSet,
  hasFeature,
  VHOST_USER_F_PROTOCOL_FEATURES,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_MTU,
} from "../../virtio/features.ts";
import {
  DeviceStatus,
  MAX_QUEUE_PAIRS,
  MAX_TABLE_REGIONS,
  Request,
  VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
  VHOST_USER_PROTOCOL_F_MQ,
  VHOST_USER_PROTOCOL_F_NET_MTU,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
  VHOST_USER_PROTOCOL_F_STATUS,
} from "../../vhost_user/numbers.ts";
import type { Check } from "../check.ts";
import { ringState, u64 } from "../memory.ts";
import { KNOWN_PROTOCOL_FEATURES, protocolFeatureNames } from "../protocol_features.ts";
import { QUEUE_SIZE } from "../ring.ts";
import { Deviation } from "../verdict.ts";

/** How often a question is asked that must always get the same answer. */
const REPETITIONS = 3;
/** The usual MTU of Ethernet, in bytes. */
const MTU = 1500;
const READY = DeviceStatus.ACKNOWLEDGE | DeviceStatus.DRIVER | DeviceStatus.FEATURES_OK;

/** The checks. */
export const OFFER_CHECKS: readonly Check[] = [
  {
    id: "features-stable",
    title: "the features stay the same when asked again",
    clause: "vhost-user, GET_FEATURES",
    run: async (target) => {
      using session = await target.open();
      for (let i = 0; i < REPETITIONS; i++) {
        const features = await session.askNumber(Request.GET_FEATURES);
        requireSame("features", session.offered, features);
      }
      return `asked ${REPETITIONS + 1} times`;
    },
  },
  {
    id: "features-reconnect",
    title: "the features stay the same on a new connection",
    clause: "vhost-user, GET_FEATURES",
    run: async (target) => {
      let before: readonly bigint[] | null = null;
      for (let i = 0; i < REPETITIONS; i++) {
        using session = await target.open();
        const now = [session.offered, session.offeredProtocol];
        requireSame("features", before?.[0] ?? now[0]!, now[0]!);
        requireSame("protocol features", before?.[1] ?? now[1]!, now[1]!);
        before = now;
      }
      return `asked on ${REPETITIONS} connections`;
    },
  },
  {
    id: "protocol-features-offered",
    title: "protocol features can be negotiated (bit 30)",
    clause: "vhost-user, GET_FEATURES",
    run: async (target) => {
      using session = await target.open();
      if (hasFeature(session.offered, VHOST_USER_F_PROTOCOL_FEATURES)) return "offered";
      throw new Deviation("bit 30 is missing");
    },
  },
  {
    id: "protocol-features-known",
    title: "only known protocol features are offered",
    clause: "vhost-user, Protocol features",
    run: async (target) => {
      using session = await target.open();
      session.require(featureSet(VHOST_USER_F_PROTOCOL_FEATURES));
      const unknown = session.offeredProtocol & ~KNOWN_PROTOCOL_FEATURES;
      if (unknown === 0n) return `0x${session.offeredProtocol.toString(16)}`;
      throw new Deviation(`unknown: ${protocolFeatureNames(unknown).join(", ")}`);
    },
  },
  {
    id: "reply-ack",
    title: "a request is acknowledged with 0",
    clause: "vhost-user, REPLY_ACK",
    run: async (target) => {
      using session = await target.open();
      const features = featureSet(VHOST_USER_PROTOCOL_F_REPLY_ACK);
      session.requireProtocol(features);
      session.negotiateProtocol(features);
      // Each is acknowledged under its own number, and with the flags of a reply.
      await session.tell(Request.SET_OWNER, new Uint8Array(0));
      await session.tell(Request.SET_VRING_NUM, ringState(0, QUEUE_SIZE));
      await session.tell(Request.SET_VRING_BASE, ringState(0, 0));
      return "number, flags and value are right";
    },
  },
  {
    id: "queue-pairs",
    title: `there are 1 to ${MAX_QUEUE_PAIRS} queue pairs`,
    clause: "vhost-user, GET_QUEUE_NUM",
    run: async (target) => {
      using session = await target.open();
      const features = featureSet(VHOST_USER_PROTOCOL_F_MQ);
      session.requireProtocol(features);
      session.negotiateProtocol(features);
      const pairs = await session.askNumber(Request.GET_QUEUE_NUM);
      if (pairs >= 1n && pairs <= BigInt(MAX_QUEUE_PAIRS)) return `${pairs}`;
      throw new Deviation(`${pairs} queue pairs`);
    },
  },
  {
    id: "memory-slots",
    title: `there are at least ${MAX_TABLE_REGIONS} memory slots`,
    clause: "vhost-user, GET_MAX_MEM_SLOTS",
    run: async (target) => {
      using session = await target.open();
      const features = featureSet(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS);
      session.requireProtocol(features);
      session.negotiateProtocol(features);
      const slots = await session.askNumber(Request.GET_MAX_MEM_SLOTS);
      if (slots >= BigInt(MAX_TABLE_REGIONS)) return `${slots}`;
      throw new Deviation(`${slots} slots, fewer than a memory table has`);
    },
  },
  {
    id: "status",
    title: "the device status is what was set",
    clause: "vhost-user, SET_STATUS; VIRTIO 1.2, 2.1",
    run: async (target) => {
      using session = await target.open();
      const protocolFeatures = featureSet(
        VHOST_USER_PROTOCOL_F_STATUS,
        VHOST_USER_PROTOCOL_F_REPLY_ACK,
      );
      session.requireProtocol(featureSet(VHOST_USER_PROTOCOL_F_STATUS));
      await session.negotiate({ features: featureSet(VIRTIO_F_VERSION_1), protocolFeatures });
      const set = await session.askNumber(Request.GET_STATUS);
      await session.reset();
      const reset = await session.askNumber(Request.GET_STATUS);
      if (set === BigInt(READY) && reset === 0n) return `0x${set.toString(16)}, then 0`;
      throw new Deviation(`set 0x${READY.toString(16)} and 0, got 0x${set.toString(16)}, ${reset}`);
    },
  },
  {
    id: "mtu",
    title: "an MTU of 1500 is taken",
    clause: "vhost-user, NET_SET_MTU",
    run: async (target) => {
      using session = await target.open();
      const features = featureSet(VIRTIO_F_VERSION_1, VIRTIO_NET_F_MTU);
      const protocolFeatures = featureSet(
        VHOST_USER_PROTOCOL_F_NET_MTU,
        VHOST_USER_PROTOCOL_F_REPLY_ACK,
      );
      session.requireProtocol(protocolFeatures);
      await session.negotiate({ features, protocolFeatures });
      await session.tell(Request.NET_SET_MTU, u64(MTU));
      return "acknowledged";
    },
  },
];

function requireSame(what: string, before: bigint, now: bigint): void {
  if (before === now) return;
  throw new Deviation(`${what} 0x${now.toString(16)}, before 0x${before.toString(16)}`);
}
