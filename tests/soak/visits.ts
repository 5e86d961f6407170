/**
 * The ways in which guests of a soak run come and go: those that behave, those that leave in the
 * middle, and those that break the rules.
 *
 * @module
 */
import { ok, strictEqual } from "node:assert/strict";
import { EventFd } from "../../ffi/eventfd.ts";
import type { Fd } from "../../ffi/fd.ts";
import { createMemfd } from "../../ffi/memory.ts";
import type { Random } from "../fuzz/random.ts";
import { HEADER } from "../../src/vhost_user/layouts.ts";
import { encode } from "../../src/vhost_user/message.ts";
import { FLAG_REPLY, MAX_PAYLOAD_BYTES, Request, VERSION } from "../../src/vhost_user/numbers.ts";
import { featureSet, hasFeature, VIRTIO_F_RING_PACKED } from "../../src/virtio/features.ts";
import { NOTHING, ringState, u64 } from "../support/vhost_messages.ts";
import {
  featuresStep,
  follow,
  handshake,
  memoryStep,
  ringSteps,
  type Step,
  stopRings,
} from "./handshake.ts";
import { breakRing } from "./bad_rings.ts";
import { BUFFERS_AT, Station } from "./station.ts";
import {
  AttachedGuest,
  drawFeatures,
  drawOffloads,
  drawStation,
  RING_FEATURES,
  type Visitor,
} from "./visitor.ts";

/** A conversation from the connection to its end. */
export type Visit = (visitor: Visitor) => Promise<void>;

const PACKED = featureSet(VIRTIO_F_RING_PACKED);
const MOST_ECHOES = 10;
const FRAMES_INTO_THE_BLUE = 16;
const MEMORY_CHANGES = 8;
const RESTARTS = 4;
const JUNK_BYTES = 256;
/** Nonsense may come at once, or when the back-end knows what was negotiated. */
const NONSENSE_AFTER_STEPS = 7;

/** Attaches, exchanges frames, stops its rings, leaves. */
async function comeAndGo(visitor: Visitor): Promise<void> {
  using guest = await AttachedGuest.come(visitor);
  await guest.exchange(visitor.random.between(1, MOST_ECHOES));
  await stopRings(guest.client);
}

/** Is killed while frames are on the way (X01). */
async function vanish(visitor: Visitor): Promise<void> {
  using guest = await AttachedGuest.come(visitor);
  await guest.exchange(1);
  guest.sendIntoTheBlue(FRAMES_INTO_THE_BLUE);
}

/** Is killed before or within some message of the handshake (F04, F05, F20). */
async function leaveInTheMiddle(visitor: Visitor): Promise<void> {
  const { random } = visitor;
  using client = await visitor.connect();
  using station = drawStation(visitor);
  const steps = handshake(station);
  const left = random.below(steps.length);
  await follow(client, steps.slice(0, left));
  const { request, payload, fds } = steps[left]!;
  const message = encode(request, 0, payload);
  const part = message.subarray(0, random.below(message.length));
  if (part.length > 0) await client.send(part, random.chance(0.5) ? fds : []);
}

/** Changes its memory table again and again between frames (F56, F57, F61). */
async function changeMemory(visitor: Visitor): Promise<void> {
  const { random, ram } = visitor;
  using guest = await AttachedGuest.come(visitor);
  const [size, cut] = [BigInt(ram.size), BigInt(BUFFERS_AT)];
  const tables = [[{ size }], [{ size: cut }, { size: size - cut, offset: cut }]];
  for (let i = 0; i < MEMORY_CHANGES; i++) {
    guest.sendIntoTheBlue(1);
    await follow(guest.client, [memoryStep(ram, random.pick(tables))]);
    await guest.exchange(1);
  }
  await stopRings(guest.client);
}

/** Changes its offloads while it runs, then its ring format behind a stop (F82). */
async function changeFeatures(visitor: Visitor): Promise<void> {
  const { random } = visitor;
  const features = drawFeatures(random);
  using guest = await AttachedGuest.come(visitor, features);
  const rings = features & RING_FEATURES;
  for (let i = 0; i < RESTARTS; i++) {
    await follow(guest.client, [featuresStep(rings | drawOffloads(random))]);
    await guest.exchange(1);
  }
  await stopRings(guest.client);
  const other = new Station(guest.station.ram, {
    ...guest.station.options,
    features: hasFeature(features, VIRTIO_F_RING_PACKED) ? rings & ~PACKED : rings | PACKED,
  });
  guest.station[Symbol.dispose]();
  guest.station = other;
  await follow(guest.client, [featuresStep(other.options.features), ...ringSteps(other)]);
  await guest.exchange(1);
  await stopRings(guest.client);
}

/** Resets its driver again and again (G97). */
async function restart(visitor: Visitor): Promise<void> {
  using guest = await AttachedGuest.come(visitor);
  for (let i = 0; i < RESTARTS; i++) {
    await guest.exchange(1);
    await stopRings(guest.client);
    guest.station.reset();
    await follow(guest.client, ringSteps(guest.station));
  }
  await guest.exchange(1);
}

/** Spoils one of its rings (G01 to G60, G89, G90); the switch goes on talking to it. */
async function spoilRing(visitor: Visitor): Promise<void> {
  using guest = await AttachedGuest.come(visitor);
  await guest.exchange(1);
  breakRing(guest.station, visitor.random);
  ok(await guest.client.probe() > 0n);
}

/** Says what no front-end may say and is turned out (F06 to F13, F23, F26). */
async function sayNonsense(visitor: Visitor): Promise<void> {
  const { random } = visitor;
  using client = await visitor.connect();
  using station = drawStation(visitor);
  await follow(client, handshake(station).slice(0, random.below(NONSENSE_AFTER_STEPS)));
  using event = EventFd.create();
  await client.send(...random.pick(NONSENSE)(random, event.fd));
  await client.end();
}

/** Asks for what is refused, and may go on (F10, F27, F63, F64, F69). */
async function askTooMuch(visitor: Visitor): Promise<void> {
  const { random } = visitor;
  using guest = await AttachedGuest.come(visitor);
  using impostor = createMemfd("labswitch-visitor", 8n);
  for (const { request, payload, fds } of refused(impostor, visitor)) {
    if (random.chance(0.5)) continue;
    strictEqual(await guest.client.ask(request, payload, fds), 1n, `the answer to ${request}`);
  }
  await guest.exchange(1);
}

/** Says anything at all (F98). */
async function mumble(visitor: Visitor): Promise<void> {
  const { random } = visitor;
  using client = await visitor.connect();
  const bytes = Uint8Array.from({ length: random.between(1, JUNK_BYTES) }, () => random.below(256));
  try {
    await client.send(bytes);
  } catch {
    // The switch has hung up before the last byte.
  }
}

/** Comes to a port where somebody is already (F18). */
async function comeSecond(visitor: Visitor): Promise<void> {
  using guest = await AttachedGuest.come(visitor);
  using second = await visitor.connect();
  await second.end();
  await guest.exchange(1);
}

type Nonsense = (random: Random, event: Fd) => [data: Uint8Array, fds: Fd[]];

const NONSENSE: readonly Nonsense[] = [
  () => [header(Request.SET_MEM_TABLE, VERSION, MAX_PAYLOAD_BYTES + 1), []],
  () => [header(Request.GET_FEATURES, 2, 0), []],
  () => [header(Request.GET_FEATURES, VERSION | FLAG_REPLY, 0), []],
  () => [encode(Request.SET_FEATURES, 0, NOTHING), []],
  (random) => [encode(Request.SET_VRING_NUM, 0, new Uint8Array(random.pick([7, 9]))), []],
  (_, event) => [encode(Request.SET_OWNER, 0, NOTHING), [event, event, event]],
  (_, event) => [encode(Request.SET_VRING_KICK, 0, u64(0x100)), [event]],
  () => [encode(Request.SET_VRING_CALL, 0, u64(0)), []],
];

function refused(impostor: Fd, { ram }: Visitor): Pick<Step, "request" | "payload" | "fds">[] {
  const size = BigInt(ram.size);
  return [
    { request: 2 ** 32 - 1, payload: u64(1), fds: [] },
    { request: Request.SET_VRING_NUM, payload: ringState(0, 0), fds: [] },
    { request: Request.SET_VRING_NUM, payload: ringState(255, 16), fds: [] },
    { request: Request.SET_VRING_CALL, payload: u64(0), fds: [impostor] },
    { request: Request.SET_FEATURES, payload: u64(2n ** 63n), fds: [] },
    memoryStep(ram, [{ size: 2n * size }]),
    memoryStep(ram, [{ size }, { size }]),
  ];
}

function header(request: number, flags: number, size: number): Uint8Array {
  const data = new Uint8Array(HEADER.size);
  HEADER.write(new DataView(data.buffer), 0, { request, flags, size });
  return data;
}

/** Every kind of visit by name. */
export const VISITS: Readonly<Record<string, Visit>> = {
  comeAndGo,
  vanish,
  leaveInTheMiddle,
  changeMemory,
  changeFeatures,
  restart,
  spoilRing,
  sayNonsense,
  askTooMuch,
  mumble,
  comeSecond,
};
