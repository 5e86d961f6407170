/**
 * Front-ends whose ring messages are wrong or in an odd order (F63 to F80).
 *
 * @module
 */
import { EventFd } from "../../../../ffi/eventfd.ts";
import { createMemfd } from "../../../../ffi/memory.ts";
import { Request } from "../../../../src/vhost_user/numbers.ts";
import { VIRTQ_DESC_F_WRITE } from "../../../../src/virtio/layouts.ts";
import type { RawClient } from "../../../support/raw_client.ts";
import {
  type AddressDraft,
  memoryTable,
  ringAddress,
  ringState,
  u64,
} from "../../../support/vhost_messages.ts";
import { bad, type Input, legal } from "../input.ts";
import {
  DATA,
  MEMORY_BYTES,
  MEMORY_NAME,
  type RawGuest,
  RECEIVE,
  TRANSMIT,
  USER,
  WHOLE,
} from "../raw_guest.ts";
import type { Scene } from "../scene.ts";

const SIZE = 256;
/** A ring at the start of the guest's memory. */
const RING: AddressDraft = { desc: USER, avail: USER + 0x1000n, used: USER + 0x2000n };
/** 4 + 8 * 256 + 2 (VIRTIO 1.2, 2.7). */
const USED_BYTES = 2054n;
const END = USER + BigInt(MEMORY_BYTES);
const INDEXES = [2, 3, 254, 255, 256, 0x10000, 2 ** 31, 2 ** 32 - 1];
/** Of the 720 orders of six messages, every so many. */
const ORDERS_APART = 6;
const BOTH = [RECEIVE, TRANSMIT] as const;

/** A message about a ring. */
type Message = (scene: Scene, client: RawClient, index: number) => Promise<unknown>;

const NUM: Message = (scene, client, index) =>
  scene.ask(client, Request.SET_VRING_NUM, ringState(index, SIZE));
const BASE: Message = (scene, client, index) =>
  scene.ask(client, Request.SET_VRING_BASE, ringState(index, 0));
const ADDR: Message = (scene, client, index) => address(scene, client, index, RING);
const KICK: Message = (scene, client, index) => event(scene, client, index, Request.SET_VRING_KICK);
const CALL: Message = (scene, client, index) => event(scene, client, index, Request.SET_VRING_CALL);
const ENABLE: Message = (scene, client, index) =>
  scene.ask(client, Request.SET_VRING_ENABLE, ringState(index, 1));
const ALL: readonly Message[] = [NUM, BASE, ADDR, CALL, KICK, ENABLE];

/** F63 to F80. */
export const RING_INPUTS: readonly Input[] = [
  bad("F63", async (scene) => {
    const { fd } = scene.keep(EventFd.create());
    for (const index of INDEXES) {
      await shared(
        scene,
        (client) => scene.ask(client, Request.SET_VRING_NUM, ringState(index, SIZE)),
      );
      await shared(
        scene,
        (client) => scene.ask(client, Request.SET_VRING_ADDR, ringAddress(index, RING)),
      );
      await shared(
        scene,
        (client) => scene.ask(client, Request.SET_VRING_ENABLE, ringState(index, 1)),
      );
      await shared(
        scene,
        (client) => scene.ask(client, Request.GET_VRING_BASE, ringState(index, 0)),
      );
      await shared(scene, (client) => scene.ask(client, Request.SET_VRING_KICK, u64(index), [fd]));
    }
  }),
  bad("F64", (scene) => sized(scene, 0)),
  bad("F65", (scene) => sized(scene, 100)),
  ...[32769, 65536, 2 ** 32 - 1].map((size) =>
    bad("F66", (scene) => sized(scene, size), String(size))
  ),
  bad("F67", async (scene) => {
    const guest = await scene.guest();
    for (const size of [512, 1, 32768]) {
      await scene.ask(guest.client, Request.SET_VRING_NUM, ringState(TRANSMIT, size));
      await noteWork(scene, guest);
    }
  }),
  bad("F68", async (scene) => {
    await scene.visit(async (client) => {
      for (const message of ALL) for (const index of BOTH) await message(scene, client, index);
    });
  }),
  bad("F69", (scene) => placed(scene, { ...RING, desc: 0x1000n })),
  bad("F70", (scene) => placed(scene, { ...RING, used: END - USED_BYTES + 2n })),
  bad("F71", async (scene) => {
    for (const [desc, avail, used] of [[8n, 0n, 0n], [0n, 1n, 0n], [0n, 0n, 2n]] as const) {
      const { desc: d, avail: a, used: u } = RING;
      await placed(scene, { desc: d + desc, avail: a + avail, used: u + used });
    }
  }),
  bad("F72", async (scene) => {
    for (const flags of [1, 2, 2 ** 31]) await placed(scene, { ...RING, flags });
  }),
  bad("F73", async (scene) => {
    const guest = await scene.guest();
    for (const draft of [RING, { ...RING, desc: 0n }, { ...RING, used: END }]) {
      await address(scene, guest.client, TRANSMIT, draft);
      await noteWork(scene, guest);
    }
  }),
  bad("F74", async (scene) => {
    for (const base of [7, 65535, 65536, 2 ** 32 - 1]) {
      await shared(scene, async (client) => {
        for (const index of BOTH) {
          await NUM(scene, client, index);
          await scene.ask(client, Request.SET_VRING_BASE, ringState(index, base));
          for (const message of [ADDR, CALL, KICK, ENABLE]) await message(scene, client, index);
        }
      });
    }
  }),
  bad("F75", (scene) => inOrder(scene, [KICK, CALL, ENABLE])),
  bad("F75", async (scene) => {
    const guest = await scene.guest();
    for (const index of BOTH) await guest.stop(index);
    for (const message of [ADDR, CALL, KICK, ENABLE]) {
      for (const index of BOTH) await message(scene, guest.client, index);
    }
    guest.post([{ addr: guest.at(DATA), len: 2048, flags: VIRTQ_DESC_F_WRITE }], 8);
    await scene.flood();
  }, "started again without its size"),
  legal("F76", async (scene) => {
    for (const [i, order] of permutations(ALL).entries()) {
      if (i % ORDERS_APART === 0) await inOrder(scene, order);
    }
  }),
  legal("F77", async (scene) => {
    await shared(scene, async (client) => {
      for (const index of BOTH) {
        await client.say(Request.GET_VRING_BASE, ringState(index, 0));
        await client.reply();
        await ENABLE(scene, client, index);
      }
    });
  }),
  legal("F78", async (scene) => {
    const guest = await scene.guest();
    for (const index of [...BOTH, ...BOTH]) await guest.stop(index);
    for (const index of BOTH) await guest.start(index);
    await guest.enable(1);
    await guest.introduce();
  }),
  bad("F79", async (scene) => {
    await shared(scene, async (client) => {
      await client.say(Request.SET_FEATURES, u64(2n ** 32n));
      for (const index of BOTH) await ENABLE(scene, client, index);
    });
  }),
  legal("F80", async (scene) => {
    const guest = await scene.guest();
    for (let i = 0; i < 20; i++) {
      const { fd } = scene.keep(EventFd.create());
      await scene.ask(guest.client, Request.SET_VRING_CALL, u64(TRANSMIT), [fd]);
      await scene.ask(guest.client, Request.SET_VRING_KICK, u64(TRANSMIT), [fd]);
    }
    await scene.ask(guest.client, Request.SET_VRING_KICK, u64(TRANSMIT), [guest.kickEvent]);
    await guest.introduce();
  }),
];

/** A session with shared memory. */
async function shared(
  scene: Scene,
  work: (client: RawClient) => Promise<unknown>,
): Promise<void> {
  await scene.visit(async (client) => {
    using file = createMemfd(MEMORY_NAME, MEMORY_BYTES);
    await client.ask(Request.SET_MEM_TABLE, memoryTable([WHOLE]), [file]);
    await work(client);
    await scene.look(client);
  });
}

async function inOrder(scene: Scene, messages: readonly Message[]): Promise<void> {
  await shared(scene, async (client) => {
    for (const message of messages) for (const index of BOTH) await message(scene, client, index);
  });
}

async function sized(scene: Scene, size: number): Promise<void> {
  const wrong: Message = (_, client, index) =>
    scene.ask(client, Request.SET_VRING_NUM, ringState(index, size));
  await inOrder(scene, [wrong, BASE, ADDR, CALL, KICK, ENABLE]);
}

async function placed(scene: Scene, draft: AddressDraft): Promise<void> {
  const wrong: Message = (_, client, index) => address(scene, client, index, draft);
  await inOrder(scene, [NUM, BASE, wrong, CALL, KICK, ENABLE]);
}

async function address(
  scene: Scene,
  client: RawClient,
  index: number,
  draft: AddressDraft,
): Promise<unknown> {
  return await scene.ask(client, Request.SET_VRING_ADDR, ringAddress(index, draft));
}

async function event(
  scene: Scene,
  client: RawClient,
  index: number,
  request: number,
): Promise<unknown> {
  const { fd } = scene.keep(EventFd.create());
  return await scene.ask(client, request, u64(index), [fd]);
}

async function noteWork(scene: Scene, guest: RawGuest): Promise<void> {
  scene.note(await guest.works() ? "goes on" : "takes nothing");
}

function permutations<T>(items: readonly T[]): T[][] {
  if (items.length <= 1) return [[...items]];
  return items.flatMap((item, i) =>
    permutations(items.toSpliced(i, 1)).map((rest) => [item, ...rest])
  );
}
