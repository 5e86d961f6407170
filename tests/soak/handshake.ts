/**
 * The messages that attach a guest of a soak run, one by one, so that a conversation may end before
 * any of them.
 *
 * @module
 */
import { strictEqual } from "node:assert/strict";
import type { Fd } from "../../ffi/fd.ts";
import { VHOST_USER_F_PROTOCOL_FEATURES } from "../../src/virtio/features.ts";
import { featureSet } from "../../src/virtio/features.ts";
import {
  Request,
  VHOST_USER_PROTOCOL_F_MQ,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
} from "../../src/vhost_user/numbers.ts";
import type { RawClient } from "../support/raw_client.ts";
import {
  memoryTable,
  NOTHING,
  type RegionDraft,
  ringAddress,
  ringState,
  u64,
} from "../support/vhost_messages.ts";
import { ADDRESS, type GuestRam, type Station } from "./station.ts";

/** A message of a handshake. */
export interface Step {
  /** Its number. */
  readonly request: number;
  /** Its payload. */
  readonly payload: Uint8Array;
  /** Descriptors that go along; they stay their owner's. */
  readonly fds: readonly Fd[];
  /** What comes back: nothing, a number that means something, or an acknowledgement. */
  readonly answer: "none" | "number" | "ack";
}

/** An eventfd field that says that there is none ("VHOST_USER_SET_VRING_CALL"). */
const NO_FD = 0x100;
const RINGS = [0, 1] as const;
/** Where a packed ring's wrap counters are in its base ("VHOST_USER_SET_VRING_BASE"). */
const PACKED_BASE = 0x8000_8000;

/** Everything from the first message until frames may flow. */
export function handshake(station: Station): Step[] {
  return [
    step(Request.SET_OWNER, NOTHING, [], "none"),
    step(Request.GET_FEATURES, NOTHING, [], "number"),
    step(Request.GET_PROTOCOL_FEATURES, NOTHING, [], "number"),
    step(Request.SET_PROTOCOL_FEATURES, u64(PROTOCOL_FEATURES), [], "none"),
    featuresStep(station.options.features),
    memoryStep(station.ram, [{ size: BigInt(station.ram.size) }]),
    ...ringSteps(station),
  ];
}

const PROTOCOL_FEATURES = featureSet(VHOST_USER_PROTOCOL_F_MQ, VHOST_USER_PROTOCOL_F_REPLY_ACK);

/** The message that accepts features. */
export function featuresStep(features: bigint): Step {
  return step(
    Request.SET_FEATURES,
    u64(features | featureSet(VHOST_USER_F_PROTOCOL_FEATURES)),
  );
}

/**
 * The message that shares memory.
 *
 * @param ram The memory.
 * @param parts Which parts of it, by size and offset, each at the address it always has.
 */
export function memoryStep(ram: GuestRam, parts: readonly RegionDraft[]): Step {
  const regions = parts.map(({ size, offset = 0n }) => {
    const address = BigInt(ADDRESS) + offset;
    return { size, offset, guest: address, user: address };
  });
  return step(Request.SET_MEM_TABLE, memoryTable(regions), regions.map(() => ram.file));
}

/** The messages that start both rings. */
export function ringSteps(station: Station): Step[] {
  const { places, options, kicks, isPacked } = station;
  const starts = RINGS.flatMap((index) => {
    const { desc, avail, used } = places[index];
    const at = (offset: number) => BigInt(ADDRESS + offset);
    return [
      step(Request.SET_VRING_NUM, ringState(index, options.queueSize)),
      step(Request.SET_VRING_BASE, ringState(index, isPacked ? PACKED_BASE : 0)),
      step(
        Request.SET_VRING_ADDR,
        ringAddress(index, { desc: at(desc), avail: at(avail), used: at(used) }),
      ),
      step(Request.SET_VRING_CALL, u64(NO_FD | index)),
      step(Request.SET_VRING_KICK, u64(index), [kicks[index].fd]),
    ];
  });
  return [
    ...starts,
    ...RINGS.map((index) => step(Request.SET_VRING_ENABLE, ringState(index, 1))),
  ];
}

/** Says messages and requires that all of them are taken. */
export async function follow(client: RawClient, steps: readonly Step[]): Promise<void> {
  for (const { request, payload, fds, answer } of steps) {
    if (answer === "ack") {
      strictEqual(await client.ask(request, payload, fds), 0n, `the answer to request ${request}`);
      continue;
    }
    await client.say(request, payload, { fds });
    if (answer === "number") await client.number(request);
  }
}

/** Stops both rings; afterwards the switch does not touch them. */
export async function stopRings(client: RawClient): Promise<void> {
  for (const index of RINGS) {
    await client.say(Request.GET_VRING_BASE, ringState(index, 0));
    await client.reply();
  }
}

function step(
  request: number,
  payload: Uint8Array,
  fds: readonly Fd[] = [],
  answer: Step["answer"] = "ack",
): Step {
  return { request, payload, fds, answer };
}
