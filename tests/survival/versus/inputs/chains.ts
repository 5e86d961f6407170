/**
 * Guests whose transmit chains break the rules (G25 to G65), and what breaks none.
 *
 * @module
 */
import {
  featureSet,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_VERSION_1,
} from "../../../../src/virtio/features.ts";
import {
  VIRTQ_DESC_F_INDIRECT as INDIRECT,
  VIRTQ_DESC_F_NEXT as NEXT,
  VIRTQ_DESC_F_WRITE as WRITE,
} from "../../../../src/virtio/layouts.ts";
import { linked, type RawDescriptor } from "../../../support/raw_ring.ts";
import { bad, type Input, legal } from "../input.ts";
import { DATA, GOOD_BYTES, GUEST, MEMORY_BYTES, type RawGuest, USER, WHOLE } from "../raw_guest.ts";
import type { Scene } from "../scene.ts";

type Chain = (guest: RawGuest) => readonly RawDescriptor[];

const FEATURES = featureSet(VIRTIO_F_VERSION_1, VIRTIO_F_INDIRECT_DESC);
const SIZE = 256;
/** Where the bystanders' memory begins, which a guest of another port must not reach. */
const OTHERS = 0x1_0000_0000n;
const HALF = WHOLE.size / 2n;
/** Where the two regions of a split memory meet; data that is sent lies in the upper one. */
const MIDDLE = Number(HALF);
const LOWER = { ...WHOLE, size: HALF };
/** A guest address of which the front-end's table knows nothing. */
const NOWHERE = GUEST + 0x1000_0000n;
const END = GUEST + WHOLE.size;

/** A chain that must come back, or not; either way the next one counts. */
function chain(id: string, chain: Chain, variant?: string, features = FEATURES): Input {
  return bad(id, async (scene) => {
    const guest = await scene.guest({ features });
    scene.note(await guest.send(chain(guest)) ? "comes back" : "stays");
    scene.note(await guest.works() ? "goes on" : "ring stands still");
  }, variant);
}

/** A chain that carries a good frame. */
function good(id: string, chain: Chain, variant?: string): Input {
  return legal(id, async (scene) => {
    const guest = await scene.guest({ features: FEATURES });
    if (!await guest.send(chain(guest))) throw new Error("takes no frame");
  }, variant);
}

function at(addr: bigint, len: number): Chain {
  return () => [{ addr, len }];
}

function loopOf(size: number): Chain {
  return (g) =>
    Array.from({ length: size }, (_, i) => ({
      ...g.good(i % GOOD_BYTES, i % GOOD_BYTES + 1),
      flags: NEXT,
      next: (i + 1) % size,
    }));
}

function parts(...cuts: number[]): Chain {
  const ends = [0, ...cuts, GOOD_BYTES];
  return (g) => linked(ends.slice(1).map((end, i) => g.good(ends[i]!, end)));
}

function patched(patch: Partial<RawDescriptor>): Chain {
  return (g) => {
    const [first, second] = linked([g.good(0, 12), g.good(12)]);
    return [first!, { ...second!, ...patch }];
  };
}

/** G25 to G65. */
export const CHAIN_INPUTS: readonly Input[] = [
  chain("G25", (g) => [{ ...g.good(), flags: NEXT, next: 0 }]),
  chain("G26", patched({ flags: NEXT, next: 0 })),
  chain("G27", loopOf(SIZE)),
  good("G28", (g) => {
    const rest = Array.from({ length: SIZE - 1 }, (_, i) => ({ addr: g.at(DATA + i), len: 1 }));
    return linked([g.good(), ...rest]);
  }),
  chain("G29", (g) => [g.table(linked(new Array(SIZE + 1).fill(g.good())))]),
  ...[SIZE, 65535].map((next) => chain("G30", patched({ flags: NEXT, next }), String(next))),
  bad("G31", async (scene) => {
    const guest = await scene.guest({ features: FEATURES });
    guest.transmit.describe(linked([guest.good(0, 12), guest.good(12)]));
    scene.note(await guest.offer([1, 0]) ? "comes back" : "stays");
    scene.note(await guest.works() ? "goes on" : "ring stands still");
  }),
  chain("G32", (g) => linked(new Array(3).fill(g.good(0, 0)))),
  chain("G33", parts(12, 12)),
  chain("G34", (g) => linked([g.good(), { ...g.good(), len: 0xffff_ffff }, g.good()])),
  chain("G35", (g) => linked(new Array(17).fill({ addr: g.at(DATA), len: 65536 }))),
  chain("G36", (g) => [{ ...g.good(), len: 0xffff_ffff }]),
  ...[11, 12, 13, 25].map((bytes) => chain("G37", (g) => [g.good(0, bytes)], `${bytes} bytes`)),
  good("G38", parts(5)),
  good("G38", parts(3, 6), "in 3"),
  good("G38", parts(...Array.from({ length: 12 }, (_, i) => i + 1)), "in 12"),
  good("G39", parts(12)),
  chain("G40", (g) => linked([{ ...g.good(0, 12), flags: WRITE }, g.good(12)])),
  chain("G42", (g) => linked([g.good(0, 12), { ...g.good(12, 20), flags: WRITE }, g.good(20)])),
  chain("G43", (g) => {
    const flags = [0, WRITE, 0, WRITE];
    return linked(flags.map((flag, i) => ({ ...g.good(i * 18, i * 18 + 18), flags: flag })));
  }),
  good("G44", (g) => [{ ...g.good(), flags: 0xfff8 }]),
  chain("G45", (g) => [{ ...g.table([g.good()]), flags: INDIRECT | NEXT, next: 1 }, g.good()]),
  chain("G46", (g) => [g.table([g.good()])], "", featureSet(VIRTIO_F_VERSION_1)),
  chain("G47", (g) => [g.table([g.table([g.good()])])]),
  ...[8, 17, 24].map((len) =>
    chain("G48", (g) => [g.table([g.good(), g.good()], len)], `${len} bytes`)
  ),
  chain("G49", (g) => [g.table([g.good()], 0)]),
  ...[16 * 65536, 0xffff_fff0].map((len) =>
    chain("G50", (g) => [g.table(linked(new Array(300).fill(g.good())), len)], `${len} bytes`)
  ),
  legal("G51", async (scene) => {
    const guest = await split(scene);
    // The second of two entries is in the second region.
    guest.view.setBigUint64(MIDDLE - 16, guest.at(DATA), true);
    guest.view.setUint32(MIDDLE - 8, 12, true);
    guest.view.setUint16(MIDDLE - 4, NEXT, true);
    guest.view.setUint16(MIDDLE - 2, 1, true);
    guest.view.setBigUint64(MIDDLE, guest.at(DATA + 12), true);
    guest.view.setUint32(MIDDLE + 8, GOOD_BYTES - 12, true);
    guest.view.setUint32(MIDDLE + 12, 0, true);
    const entry = { addr: guest.at(MIDDLE - 16), len: 32, flags: INDIRECT };
    if (!await guest.send([entry])) throw new Error("takes no frame");
  }),
  chain("G51", () => [{ addr: END - 16n, len: 32, flags: INDIRECT }], "across a hole"),
  chain("G52", (g) => [
    g.table([{ ...g.good(0, 40), flags: NEXT, next: 1 }, { ...g.good(40), flags: NEXT, next: 0 }]),
  ]),
  chain("G53", () => [{ addr: NOWHERE, len: 32, flags: INDIRECT }]),
  chain("G53", () => [{ addr: END - 16n, len: 4096, flags: INDIRECT }], "partly outside"),
  good("G54", (g) => [{ ...g.table([g.good()]), flags: INDIRECT | WRITE }]),
  chain("G56", at(NOWHERE, GOOD_BYTES)),
  chain("G56", at(USER, GOOD_BYTES), "a front-end address"),
  chain("G57", at(END - 1n, 2)),
  chain("G57", at(END - 1n, GOOD_BYTES), "with a frame's length"),
  good("G58", (g) => {
    g.bytes.copyWithin(MEMORY_BYTES - GOOD_BYTES, DATA, DATA + GOOD_BYTES);
    return [{ addr: END - BigInt(GOOD_BYTES), len: GOOD_BYTES }];
  }),
  chain("G59", at(2n ** 64n - 16n, GOOD_BYTES)),
  chain("G59", (g) => [{ ...g.good(), addr: 2n ** 64n - 1n, len: 0xffff_ffff }], "and is long"),
  ...[2n ** 53n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 1n].map((addr) =>
    chain("G60", at(addr, GOOD_BYTES), addr.toString(16))
  ),
  chain("G61", at(2n ** 40n + GUEST + BigInt(DATA), GOOD_BYTES)),
  chain("G62", (g) => linked([g.good(), { addr: 1n << 63n, len: 0 }])),
  chain("G62", (g) => linked([g.good(), { addr: 0n, len: 0 }]), "0"),
  legal("G63", async (scene) => {
    const guest = await split(scene);
    guest.bytes.copyWithin(MIDDLE - 30, DATA, DATA + GOOD_BYTES);
    if (!await guest.send([{ addr: guest.at(MIDDLE - 30), len: GOOD_BYTES }])) {
      throw new Error("takes no frame");
    }
  }),
  chain("G64", at(OTHERS + 0x10000n, GOOD_BYTES)),
  bad("G65", async (scene) => {
    const guest = await split(scene);
    await guest.share([LOWER]);
    const taken = await guest.send([{ addr: guest.at(MIDDLE + 4096), len: GOOD_BYTES }]);
    scene.note(taken ? "comes back" : "stays");
    await scene.look(guest.client);
  }),
];

// The same memory as two regions, which a back-end maps apart from each other.
async function split(scene: Scene): Promise<RawGuest> {
  const upper = { guest: GUEST + HALF, user: USER + HALF, size: HALF, offset: HALF };
  return await scene.guest({ features: FEATURES, regions: [LOWER, upper] });
}
