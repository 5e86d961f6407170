/**
 * Mistakes in a message: each breaks it in one way that a broken or hostile front-end could.
 *
 * @module
 */
import {
  FLAG_NEED_REPLY,
  FLAG_REPLY,
  MAX_PAYLOAD_BYTES,
  VERSION,
} from "../../../src/vhost_user/numbers.ts";
import { HEADER } from "../../../src/vhost_user/layouts.ts";
import { MAX_DESCRIPTORS } from "../../../ffi/unix_socket.ts";
import type { Random } from "../random.ts";
import { type Draft, REQUEST_NAMES } from "./messages.ts";
import { type DescriptorName, ODD_DESCRIPTORS, RINGS } from "./plan.ts";

/** The most descriptors that the kernel passes with one message (SCM_MAX_FD). */
const MOST_DESCRIPTORS = 253;

const LIMITS_32 = [
  ...[0, 1, 2, 3, RINGS - 1, RINGS, RINGS + 1, 15, 16, 127, 128, 255, 256, 257, 258, 4096],
  ...[32767, 32768, 32769, 65535, 65536, 0x10000, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1],
] as const;
const LIMITS_64 = [
  ...[0n, 1n, 2n, 4095n, 4096n, 65536n, 1n << 31n, (1n << 32n) - 1n, 1n << 32n, 1n << 34n],
  ...[(1n << 34n) - 4096n, 1n << 40n, 1n << 50n, (1n << 53n) + 1n, 1n << 63n, (1n << 64n) - 1n],
  ...[(1n << 64n) - 4096n, (1n << 64n) - 16384n],
] as const;
/** What is added to a number to make it just wrong. */
const STEPS = [1n, -1n, 2n, 4n, 8n, -16n, 4096n, -4096n, 8192n, 16384n, 1n << 32n] as const;
const WORD = (1n << 64n) - 1n;
const REQUEST_LIMITS = [0, 6, 7, 32, 46, 255, 2 ** 31, 2 ** 32 - 1] as const;

type Mistake = (random: Random, draft: Draft) => void;

/** Mistakes and how often each is made, beside the others. */
const MISTAKES: readonly (readonly [weight: number, mistake: Mistake])[] = [
  [14, changeWord32],
  [14, changeWord64],
  [4, flipBits],
  [5, changeLength],
  [3, lieAboutLength],
  [3, changeFlags],
  [1, changeVersion],
  [3, changeRequest],
  [4, dropDescriptors],
  [4, addDescriptors],
  [8, changeDescriptor],
];
const TOTAL = MISTAKES.reduce((sum, [weight]) => sum + weight, 0);

/** Makes one mistake in a message. */
export function makeMistake(random: Random, draft: Draft): void {
  let left = random.below(TOTAL);
  for (const [weight, mistake] of MISTAKES) {
    if ((left -= weight) < 0) return mistake(random, draft);
  }
}

function changeWord32(random: Random, draft: Draft): void {
  if (draft.payload.length < 4) return changeRequest(random, draft);
  const at = 4 * random.below(draft.payload.length >> 2);
  viewOf(draft).setUint32(at, random.pick(LIMITS_32), true);
}

function changeWord64(random: Random, draft: Draft): void {
  if (draft.payload.length < 8) return changeLength(random, draft);
  const at = 8 * random.below(draft.payload.length >> 3);
  const view = viewOf(draft);
  const value = random.chance(0.5)
    ? random.pick(LIMITS_64)
    : view.getBigUint64(at, true) + random.pick(STEPS) & WORD;
  view.setBigUint64(at, value, true);
}

function flipBits(random: Random, draft: Draft): void {
  if (draft.payload.length === 0) return changeFlags(random, draft);
  for (let left = random.between(1, 3); left > 0; left--) {
    draft.payload[random.below(draft.payload.length)]! ^= 1 << random.below(8);
  }
}

// Longer or shorter than it may be, and the header says so.
function changeLength(random: Random, draft: Draft): void {
  const { length } = draft.payload;
  const limits = [0, length - 1, length + 1, length - 8, length + 8, length + 32, 4096, 4097];
  const payload = new Uint8Array(Math.max(0, random.pick(limits)));
  payload.set(draft.payload.subarray(0, payload.length));
  draft.payload = payload;
}

// The stream is out of step from here on.
function lieAboutLength(random: Random, draft: Draft): void {
  const { length } = draft.payload;
  const limits = [0, 1, length + 1, length + 12, length + 40, MAX_PAYLOAD_BYTES];
  draft.size = random.pick([...limits, MAX_PAYLOAD_BYTES + 1, 2 ** 31, 2 ** 32 - 1]);
}

function changeFlags(random: Random, draft: Draft): void {
  draft.flags = random.pick([FLAG_REPLY, FLAG_NEED_REPLY, 0x10, 0xffff_fff0, random.next() & ~3]);
}

function changeVersion(random: Random, draft: Draft): void {
  draft.version = random.pick([0, 2, 3]);
}

// The payload stays that of another request.
function changeRequest(random: Random, draft: Draft): void {
  draft.request = random.chance(0.3)
    ? random.pick(REQUEST_LIMITS)
    : random.below(REQUEST_NAMES.length + 32);
}

function dropDescriptors(random: Random, draft: Draft): void {
  if (draft.fds.length === 0) return addDescriptors(random, draft);
  draft.fds.splice(random.below(draft.fds.length), random.between(1, draft.fds.length));
}

function addDescriptors(random: Random, draft: Draft): void {
  const count = random.chance(0.9)
    ? random.between(1, 3)
    : random.pick([7, 8, MAX_DESCRIPTORS, MAX_DESCRIPTORS + 1, MOST_DESCRIPTORS]);
  const name = drawDescriptor(random);
  const room = MOST_DESCRIPTORS - draft.fds.length;
  draft.fds.push(...new Array<DescriptorName>(Math.min(count, room)).fill(name));
}

function changeDescriptor(random: Random, draft: Draft): void {
  if (draft.fds.length === 0) return addDescriptors(random, draft);
  draft.fds[random.below(draft.fds.length)] = drawDescriptor(random);
}

function drawDescriptor(random: Random): DescriptorName {
  if (random.chance(0.7)) return random.pick(ODD_DESCRIPTORS);
  return random.pick<DescriptorName>(["memory", "kick0", "kick1", "call0", "call1", "itself"]);
}

/** A message's bytes, mistakes included. */
export function encodeDraft({ request, flags, payload, version, size }: Draft): Uint8Array {
  const data = new Uint8Array(HEADER.size + payload.length);
  HEADER.write(new DataView(data.buffer), 0, {
    request,
    flags: (flags | (version ?? VERSION)) >>> 0,
    size: size ?? payload.length,
  });
  data.set(payload, HEADER.size);
  return data;
}

/** Whether the switch, when it reads on, takes the next message's first byte for what it is. */
export function keepsStep({ payload, size }: Draft): boolean {
  return size === undefined || size === payload.length;
}

function viewOf({ payload }: Draft): DataView {
  return new DataView(payload.buffer, payload.byteOffset, payload.length);
}
