/**
 * Front-ends whose memory tables are wrong, or whose memory goes away (F37 to F61).
 *
 * A table that a back-end takes is put to use: rings are placed in it and started, because a wrong table
 * does its harm only when somebody reads there.
 *
 * @module
 */
import { EventFd } from "../../../../ffi/eventfd.ts";
import type { Fd } from "../../../../ffi/fd.ts";
import { libc } from "../../../../ffi/libc.ts";
import { addSeals, createMemfd, F_SEAL_WRITE } from "../../../../ffi/memory.ts";
import { Request } from "../../../../src/vhost_user/numbers.ts";
import { openFile } from "../../../support/descriptors.ts";
import type { RawClient } from "../../../support/raw_client.ts";
import {
  memoryTable,
  type RegionDraft,
  ringAddress,
  ringState,
  u64,
} from "../../../support/vhost_messages.ts";
import { bad, type Input, legal } from "../input.ts";
import { DATA, GUEST, MEMORY_BYTES, MEMORY_NAME, USER, WHOLE } from "../raw_guest.ts";
import { ALL_PROTOCOL_FEATURES } from "../requests.ts";
import { pause, type Scene } from "../scene.ts";

const PAGE = 4096n;
const MIB = 2n ** 20n;
const GIB = 2n ** 30n;
const RING_SIZE = 256;
const TABLES_IN_A_ROW = 500;
/** How long a back-end may take to look at rings, and at what it gets there. */
const USE_MS = 100;
/** Two regions beside each other. */
const HALF = WHOLE.size / 2n;
const LOWER: RegionDraft = { ...WHOLE, size: HALF };
const UPPER: RegionDraft = { guest: GUEST + HALF, user: USER + HALF, size: HALF, offset: HALF };
/** A memory region alone, as ADD_MEM_REG and REM_MEM_REG have it: 8 bytes, then the region. */
const SINGLE_HEAD_BYTES = 8;
/** Something outside of memfd, which cannot be sealed. */
const SHARED_MEMORY = "/dev/shm";

/** F37 to F61. */
export const MEMORY_INPUTS: readonly Input[] = [
  bad("F37", (scene) => table(scene, [], [])),
  ...[0, 2, 9, 64, 2 ** 32 - 1].map((count) =>
    bad("F38", async (scene) => {
      const file = memory(scene);
      await scene.visit((client) =>
        scene.ask(client, Request.SET_MEM_TABLE, memoryTable([WHOLE], count), [file])
      );
    }, `${count} instead of 1`)
  ),
  bad("F39", async (scene) => {
    const file = memory(scene);
    for (const count of [0, 1, 3, 8]) {
      await table(scene, [LOWER, UPPER], new Array(count).fill(file));
    }
  }),
  bad("F40", (scene) => table(scene, [{ ...WHOLE, size: 0n }], [memory(scene)])),
  bad("F41", async (scene) => {
    for (const size of [1n, PAGE - 1n, MIB + 1n]) {
      await table(scene, [{ ...WHOLE, size }], [memory(scene)]);
    }
  }),
  bad(
    "F42",
    (scene) => table(scene, [{ ...WHOLE, offset: 2n ** 64n - PAGE, size: MIB }], [memory(scene)]),
  ),
  bad("F43", (scene) => table(scene, [{ ...WHOLE, offset: 2n * MIB }], [memory(scene, MIB)])),
  bad("F44", (scene) => table(scene, [WHOLE], [memory(scene, MIB)], USER + 2n * MIB)),
  bad("F45", (scene) => cutOff(scene, createMemfd(MEMORY_NAME, MEMORY_BYTES)), "a memfd"),
  bad("F45", (scene) => {
    return cutOff(scene, createMemfd(MEMORY_NAME, MEMORY_BYTES, { sealable: false }));
  }, "a memfd that cannot be sealed"),
  bad("F45", (scene) => cutOff(scene, temporary()), "a tmpfs file"),
  bad("F46", async (scene) => {
    const guest = await scene.guest();
    const path = `/proc/${Deno.pid}/fd/${guest.file.number}`;
    const args = ["--punch-hole", "--offset=0", `--length=${MEMORY_BYTES}`, path];
    const { success } = await new Deno.Command("fallocate", { args }).output();
    if (!success) throw new Error("Cannot punch a hole with fallocate");
    guest.kick();
    await scene.flood();
  }),
  bad("F49", (scene) => {
    const file = memory(scene);
    return table(scene, [WHOLE, { ...WHOLE, user: USER + GIB }], [file, file]);
  }),
  bad("F50", (scene) => {
    const file = memory(scene);
    return table(scene, [WHOLE, { ...WHOLE, guest: GUEST + GIB }], [file, file]);
  }),
  bad("F51", (scene) => table(scene, [{ ...WHOLE, guest: 2n ** 64n - PAGE }], [memory(scene)])),
  bad("F51", (scene) => {
    return table(scene, [{ ...WHOLE, user: 2n ** 64n - PAGE }], [memory(scene)], 2n ** 64n - PAGE);
  }, "the front-end's"),
  bad("F52", (scene) => table(scene, [{ ...WHOLE, offset: 1n, size: MIB }], [memory(scene)])),
  bad("F53", async (scene) => {
    const path = `/proc/self/fd/${memory(scene).number}`;
    await table(scene, [WHOLE], [scene.keep(openFile(path, "r"))]);
  }),
  bad("F54", async (scene) => {
    const file = memory(scene);
    addSeals(file, F_SEAL_WRITE);
    await table(scene, [WHOLE], [file]);
  }),
  bad("F55", (scene) => table(scene, [{ ...WHOLE, size: 2n ** 50n }], [memory(scene, 2n ** 50n)])),
  legal("F56", async (scene) => {
    const guest = await scene.guest();
    for (const regions of [[WHOLE], [LOWER, UPPER], [WHOLE], [LOWER], [WHOLE]]) {
      await guest.share(regions);
      await guest.works();
    }
    if (!await guest.works()) throw new Error("takes no frame afterwards");
  }),
  legal("F57", async (scene) => {
    const guest = await scene.guest();
    await guest.share([WHOLE]);
    if (!await guest.works()) throw new Error("takes no frame afterwards");
  }),
  bad("F58", async (scene) => {
    const file = memory(scene);
    const client = await scene.session(0n, ALL_PROTOCOL_FEATURES);
    for (let i = 0; i < 600; i++) {
      const region = { ...WHOLE, guest: GUEST + BigInt(i >> 1) * GIB, user: BigInt(i >> 1) * GIB };
      if (await scene.ask(client, Request.ADD_MEM_REG, single(region), [file]) === "hangs up") {
        break;
      }
    }
  }),
  bad("F59", async (scene) => {
    const file = memory(scene);
    for (const fds of [[], [file]]) {
      await scene.visit(
        (client) => scene.ask(client, Request.REM_MEM_REG, single(WHOLE), fds),
        0n,
        ALL_PROTOCOL_FEATURES,
      );
    }
  }),
  bad("F60", async (scene) => {
    const guest = await scene.guest();
    await guest.share([{ ...WHOLE, guest: GUEST + GIB, user: USER + GIB }]);
    scene.note(await guest.works() ? "goes on" : "takes nothing");
    await scene.look(guest.client);
  }),
  legal("F61", async (scene) => {
    const guest = await scene.guest();
    for (let i = 0; i < TABLES_IN_A_ROW; i++) {
      await guest.share(i % 2 === 0 ? [LOWER, UPPER] : [WHOLE]);
      if (i % 50 === 0) await guest.works();
    }
    if (!await guest.works()) throw new Error("takes no frame afterwards");
  }),
];

function memory(scene: Scene, bytes: bigint | number = MEMORY_BYTES): Fd {
  return scene.keep(createMemfd(MEMORY_NAME, bytes));
}

// Sends a table; if it is accepted, starts rings at `ringsAt` and lets the back-end use them.
async function table(
  scene: Scene,
  regions: readonly RegionDraft[],
  fds: readonly Fd[],
  ringsAt: bigint = USER,
): Promise<void> {
  await scene.visit(async (client) => {
    const answer = await scene.ask(client, Request.SET_MEM_TABLE, memoryTable(regions), fds);
    if (answer === "accepts") await startRings(scene, client, ringsAt);
  });
}

async function startRings(scene: Scene, client: RawClient, at: bigint): Promise<void> {
  const { fd } = scene.keep(EventFd.create());
  for (const index of [0, 1]) {
    const desc = at + BigInt(index) * 0x4000n;
    const addresses = { desc, avail: desc + 0x1000n, used: desc + 0x2000n };
    await scene.ask(client, Request.SET_VRING_NUM, ringState(index, RING_SIZE));
    await scene.ask(client, Request.SET_VRING_BASE, ringState(index, 0));
    await scene.ask(client, Request.SET_VRING_ADDR, ringAddress(index, addresses));
    await scene.ask(client, Request.SET_VRING_CALL, u64(index), [fd]);
    await scene.ask(client, Request.SET_VRING_KICK, u64(index), [fd]);
  }
  for (const index of [0, 1]) {
    await scene.ask(client, Request.SET_VRING_ENABLE, ringState(index, 1));
  }
  await pause(USE_MS);
}

// Nothing of ours may touch the memory afterwards, or it would be us who die.
async function cutOff(scene: Scene, file: Fd): Promise<void> {
  const guest = await scene.guest({ file });
  guest.post([{ addr: guest.at(DATA), len: 2048, flags: 2 }], 8);
  scene.note(libc().ftruncate(file.number, 0n) === 0 ? "is cut off" : "cannot be cut off");
  guest.kick();
  await scene.flood();
  await scene.look(guest.client);
}

function temporary(): Fd {
  const path = Deno.makeTempFileSync({ dir: SHARED_MEMORY, prefix: "labswitch-versus-" });
  Deno.truncateSync(path, MEMORY_BYTES);
  const fd = openFile(path, "r+");
  Deno.removeSync(path);
  return fd;
}

function single(region: RegionDraft): Uint8Array {
  const table = memoryTable([region]);
  return Uint8Array.from([...new Uint8Array(SINGLE_HEAD_BYTES), ...table.subarray(8)]);
}
