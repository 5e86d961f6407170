/**
 * Guests whose rings break the rules (G01 to G24), whose headers lie (G68 to G82), whose receive rings
 * are odd (G41, G83 to G88), and who live strangely (G93 to G100).
 *
 * @module
 */
import { Request } from "../../../../src/vhost_user/numbers.ts";
import {
  featureSet,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_NET_F_CSUM,
  VIRTIO_NET_F_HOST_TSO4,
  VIRTIO_NET_F_HOST_TSO6,
  VIRTIO_NET_F_HOST_USO,
  VIRTIO_NET_F_MRG_RXBUF,
} from "../../../../src/virtio/features.ts";
import {
  placeRing,
  VIRTQ_DESC_F_INDIRECT as INDIRECT,
  VIRTQ_DESC_F_NEXT as NEXT,
  VIRTQ_DESC_F_WRITE as WRITE,
} from "../../../../src/virtio/layouts.ts";
import { Random } from "../../../fuzz/random.ts";
import { linked, type RawDescriptor } from "../../../support/raw_ring.ts";
import { ringAddress, ringState, u64 } from "../../../support/vhost_messages.ts";
import { bad, type Input, legal } from "../input.ts";
import {
  DATA,
  GOOD_BYTES,
  GUEST,
  MEMORY_BYTES,
  type RawGuest,
  RECEIVE,
  TRANSMIT,
  USER,
  WHOLE,
} from "../raw_guest.ts";
import { pause, type Scene } from "../scene.ts";

const SIZE = 256;
/** How long a back-end may take to look at a ring. */
const LOOK_MS = 100;
const OFFLOADS = featureSet(
  VIRTIO_NET_F_CSUM,
  VIRTIO_NET_F_HOST_TSO4,
  VIRTIO_NET_F_HOST_TSO6,
  VIRTIO_NET_F_HOST_USO,
);
const MERGEABLE = featureSet(VIRTIO_NET_F_MRG_RXBUF);
/** Where the ring lies that ends behind its region. */
const LAST_RING = 2 ** 20;
const KICKS = 100_000;
const RESETS = 50;
const RANDOM_ROUNDS = 2000;
const SEED = 100;
const PORT_IS_STILL = "ring stands still";

/** An attack on the transmit ring of a guest that is attached. */
function attack(
  id: string,
  work: (guest: RawGuest, scene: Scene) => Promise<unknown> | unknown,
  variant?: string,
  features = 0n,
): Input {
  return bad(id, async (scene) => {
    const guest = await scene.guest({ features });
    await work(guest, scene);
    guest.kick();
    await pause(LOOK_MS);
    await scene.look(guest.client);
  }, variant);
}

/** A good frame with a header that lies. */
function claim(id: string, header: number[], variant?: string, features = OFFLOADS): Input {
  return bad(id, async (scene) => {
    const guest = await scene.guest({ features });
    guest.header(...header);
    scene.note(await guest.send([guest.good()]) ? "comes back" : "stays");
    scene.note(await guest.works() ? "goes on" : PORT_IS_STILL);
  }, variant);
}

/** Receive buffers, and frames that come for them. */
function receive(
  id: string,
  chain: (guest: RawGuest) => readonly RawDescriptor[],
  variant?: string,
  features = 0n,
): Input {
  return bad(id, async (scene) => {
    const guest = await scene.guest({ features: features | featureSet(VIRTIO_F_INDIRECT_DESC) });
    guest.post(chain(guest), SIZE / 2);
    await scene.flood();
    scene.note(`${guest.receive.usedIndex > 0 ? "uses" : "leaves"} the buffers`);
    scene.note(await guest.works() ? "goes on" : PORT_IS_STILL);
  }, variant);
}

function words(...values: number[]): number[] {
  return values.flatMap((value) => [value & 0xff, value >> 8]);
}

const TAKEN = (guest: RawGuest) => ({ ...guest.good(), flags: 0 });

/** G01 to G24. */
const RINGS: readonly Input[] = [
  attack("G01", (g) => void (g.transmit.availIndex += SIZE + 1)),
  attack("G01", (g) => void (g.transmit.availIndex += 0x8000), "half its range"),
  attack("G01", (g, scene) => {
    g.receive.availIndex += SIZE + 1;
    return scene.flood();
  }, "receive ring"),
  legal("G02", async (scene) => {
    const guest = await scene.guest();
    guest.transmit.describe([TAKEN(guest)]);
    if (!await guest.offer(new Array(SIZE).fill(0))) throw new Error("takes no full ring");
  }),
  attack("G03", (g) => void (g.transmit.availIndex -= 1)),
  ...[SIZE, SIZE + 1, 65535].map((head) =>
    attack("G06", async (g) => {
      await g.offer([head]);
    }, `${head}`)
  ),
  attack("G07", async (g) => {
    g.transmit.describe([TAKEN(g)]);
    await g.offer([0, 0]);
  }),
  attack("G09", async (g, scene) => {
    g.transmit.availFlags = 0xffff;
    scene.note(await g.works() ? "goes on" : PORT_IS_STILL);
  }),
  attack(
    "G10",
    async (g) => {
      for (let i = 0; i < 50; i++) {
        g.transmit.usedEvent = (i * 7919) & 0xffff;
        await g.works();
      }
    },
    "",
    featureSet(VIRTIO_F_EVENT_IDX),
  ),
  attack("G11", async (g, scene) => {
    for (let i = 0; i < 20; i++) {
      g.bytes.fill(0xff, g.places[TRANSMIT].used, g.places[TRANSMIT].end);
      g.transmit.offer(0);
      g.kick();
      await pause(1);
    }
    scene.note("scribbles");
  }),
  attack("G13", (g) => {
    for (let i = 0; i < KICKS; i++) g.kick();
  }),
  attack("G14", (g) => g.kick()),
  bad("G15", async (scene) => {
    const guest = await scene.guest();
    const draft = { desc: USER, avail: USER, used: USER };
    for (const index of [RECEIVE, TRANSMIT]) await guest.stop(index);
    for (const index of [RECEIVE, TRANSMIT]) {
      await scene.ask(guest.client, Request.SET_VRING_NUM, ringState(index, SIZE));
      await scene.ask(guest.client, Request.SET_VRING_ADDR, ringAddress(index, draft));
      await scene.ask(guest.client, Request.SET_VRING_CALL, u64(index), [guest.kickEvent]);
      await scene.ask(guest.client, Request.SET_VRING_KICK, u64(index), [guest.kickEvent]);
      await scene.ask(guest.client, Request.SET_VRING_ENABLE, ringState(index, 1));
    }
    guest.view.setBigUint64(0, guest.at(DATA), true);
    guest.kick();
    await scene.flood();
  }),
  bad("G16", async (scene) => {
    const guest = await scene.guest();
    guest.post([{ addr: guest.at(guest.places[RECEIVE].used), len: 2048, flags: WRITE }], 100);
    await scene.flood();
  }),
  bad("G17", async (scene) => {
    const guest = await scene.guest();
    guest.post([{ addr: GUEST, len: 2048, flags: WRITE }], 100);
    await scene.flood();
  }),
  attack("G18", async (g) => {
    await g.send([{ addr: g.at(g.places[TRANSMIT].used), len: 2000 }]);
  }),
  bad("G19", async (scene) => {
    const middle = 0x8_0000n;
    const guest = await scene.guest({
      rings: [Number(middle) - 2048, 0x10_0000],
      regions: [{ ...WHOLE, size: middle }, {
        guest: GUEST + middle,
        user: USER + middle,
        size: WHOLE.size - middle,
        offset: middle,
      }],
    });
    scene.note(await guest.works() ? "goes on" : PORT_IS_STILL);
  }),
  bad("G20", async (scene) => {
    const { end } = placeRing(LAST_RING, SIZE);
    const regions = [{ ...WHOLE, size: BigInt(end) - 1n }];
    const guest = await scene.guest({ rings: [0, LAST_RING], regions });
    scene.note(await guest.works() ? "goes on" : PORT_IS_STILL);
  }),
  ...[1, 2, 32768].map((size) =>
    legal("G22", async (scene) => {
      const guest = await scene.guest({ size });
      if (!await guest.works()) throw new Error("takes no frame");
    }, `${size}`)
  ),
  attack("G23", async (g) => {
    g.transmit.describe([TAKEN(g)]);
    for (let i = 0; i < 500; i++) {
      const free = SIZE - ((g.transmit.availIndex - g.transmit.usedIndex) & 0xffff);
      await g.offer(new Array(free).fill(0), 20);
    }
  }),
  attack("G24", async (g, scene) => {
    g.reset();
    g.kick();
    await scene.flood();
  }),
];

/** G41, G83 to G88. */
const RECEIVERS: readonly Input[] = [
  receive("G41", (g) => [{ addr: g.at(DATA), len: 2048 }]),
  receive(
    "G41",
    (g) => linked([{ addr: g.at(DATA), len: 12, flags: WRITE }, { addr: g.at(DATA), len: 2048 }]),
    "partly",
  ),
  receive("G83", (g) => [{ addr: g.at(DATA), len: 40, flags: WRITE }]),
  receive("G84", (g) => [{ addr: g.at(DATA), len: 1, flags: WRITE }], "", MERGEABLE),
  legal("G85", async (scene) => {
    const guest = await scene.guest();
    await scene.flood();
    guest.post([{ addr: guest.at(DATA), len: 2048, flags: WRITE }], 100);
    await scene.flood();
    if (guest.receive.usedIndex === 0) throw new Error("delivers nothing afterwards");
  }),
  receive("G86", (g) => [{ addr: g.at(DATA), len: 11, flags: WRITE }]),
  receive("G87", (g) => linked(new Array(8).fill({ addr: g.at(DATA), len: 64, flags: WRITE }))),
  receive("G88", (g) => [{ addr: g.at(DATA), len: 20, flags: WRITE }], "", MERGEABLE),
  receive(
    "G25",
    (g) => [{ addr: g.at(DATA), len: 8, flags: WRITE | NEXT, next: 0 }],
    "receive ring",
  ),
  receive("G30", (g) => [
    { addr: g.at(DATA), len: 8, flags: WRITE | NEXT, next: 65535 },
  ], "receive ring"),
  receive("G47", (g) => [
    g.table([{ addr: g.at(DATA), len: 16, flags: INDIRECT | WRITE }]),
  ], "receive ring"),
  receive("G56", () => [{ addr: GUEST + 2n ** 30n, len: 2048, flags: WRITE }], "receive ring"),
  receive("G57", () => [
    { addr: GUEST + BigInt(MEMORY_BYTES) - 1n, len: 2048, flags: WRITE },
  ], "receive ring"),
];

/** G68 to G80; the header's words: flags and type, header length, size, start, offset. */
const CLAIMS: readonly Input[] = [
  claim("G68", [1, 0, ...words(0, 0, 61, 0)]),
  claim("G69", [1, 0, ...words(0, 0, 50, 9)]),
  claim("G70", [1, 0, ...words(0, 0, 0xffff, 0xffff)]),
  claim("G71", [1, 0, ...words(0, 0, 14, 6)], "", 0n),
  claim("G72", [0, 0x7f, ...words(0, 100)]),
  claim("G73", [1, 1, ...words(54, 0, 34, 16)]),
  ...[1, 0xffff].map((size) => claim("G74", [1, 1, ...words(54, size, 34, 16)], `${size}`)),
  ...[1, 4].map((type) => claim("G75", [1, type, ...words(54, 100, 34, 16)], `type ${type}`)),
  claim("G76", [1, 1, ...words(0xffff, 100, 34, 16)]),
  claim("G77", [0, 1, ...words(54, 100, 34, 16)]),
  claim("G78", [1, 5, ...words(54, 100, 34, 6)]),
  claim("G80", [0, 0, ...words(0, 0, 0, 0, 0xffff)]),
  bad("G81", async (scene) => {
    const guest = await scene.guest();
    for (const frame of [65535 + 14, 65536 + 14]) {
      scene.note(
        await guest.send([{ addr: guest.at(DATA), len: 12 + frame }]) ? "comes back" : "stays",
      );
    }
    scene.note(await guest.works() ? "goes on" : PORT_IS_STILL);
  }),
];

/** G93 to G100. */
const LIVES: readonly Input[] = [
  bad("G93", async (scene) => {
    const guest = await scene.guest();
    await guest.enable(0);
    guest.post([{ addr: guest.at(DATA), len: 2048, flags: WRITE }], 8);
    scene.note(await guest.works() ? "takes frames" : "takes nothing");
    await scene.flood();
    scene.note(guest.receive.usedIndex === 0 ? "writes nothing" : "writes frames");
  }),
  legal("G97", async (scene) => {
    const guest = await scene.guest();
    for (let i = 0; i < RESETS; i++) {
      for (const index of [RECEIVE, TRANSMIT]) await guest.stop(index);
      for (const index of [RECEIVE, TRANSMIT]) await guest.start(index);
    }
    await guest.enable(1);
    await guest.introduce();
  }),
  ...[0, 1, 13].map((payload) =>
    bad("G98", async (scene) => {
      const guest = await scene.guest();
      scene.note(await guest.send([guest.good(0, 12 + payload)]) ? "comes back" : "stays");
      scene.note(await guest.works() ? "goes on" : PORT_IS_STILL);
    }, `${payload} bytes`)
  ),
  bad("G100", async (scene) => {
    const guest = await scene.guest({ features: featureSet(VIRTIO_F_INDIRECT_DESC) | OFFLOADS });
    const random = new Random(SEED, 0);
    for (let i = 0; i < RANDOM_ROUNDS; i++) {
      scribble(guest, random);
      guest.kick();
      if (i % 100 === 0) await pause(1);
    }
    await scene.flood();
  }),
];

/** All of them, in the order of the catalogue. */
export const GUEST_INPUTS: readonly Input[] = [...RINGS, ...RECEIVERS, ...CLAIMS, ...LIVES];

// Descriptors that are right more often than not, and an index that moves a little.
function scribble(guest: RawGuest, random: Random): void {
  const at = () => random.pick([DATA, 0, random.below(MEMORY_BYTES), 2 ** 30]);
  const table = Array.from({ length: random.between(1, 8) }, () => ({
    addr: random.chance(0.9) ? guest.at(at()) : BigInt(random.next()) << 32n,
    len: random.pick([0, 1, 12, GOOD_BYTES, 16, 64, 65536, 0xffff_ffff]),
    flags: random.below(random.chance(0.9) ? 8 : 65536),
    next: random.below(random.chance(0.9) ? 8 : 65536),
  }));
  const ring = random.chance(0.5) ? guest.transmit : guest.receive;
  ring.describe(table, random.below(8));
  guest.header(...Array.from({ length: 12 }, () => random.chance(0.7) ? 0 : random.below(256)));
  ring.offer(...Array.from({ length: random.below(4) }, () => random.below(8)));
}
