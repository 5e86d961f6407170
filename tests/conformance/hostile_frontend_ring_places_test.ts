/**
 * Rings that lie where the switch cannot use them: across two regions, past the end of one, in memory
 * that it may only read (G19, G20, G21). None of them starts, and it can be put right afterwards.
 *
 * A ring must lie in one region. A driver allocates it in one piece, and a front-end makes a region of
 * what is contiguous in its own memory, so a ring that straddles two is none that a guest needs; to
 * serve it each access would have to be translated anew.
 *
 * @module
 */
import { match, ok, strictEqual } from "node:assert/strict";
import type { Fd } from "../../ffi/fd.ts";
import { addSeals, createMemfd, F_SEAL_WRITE } from "../../ffi/memory.ts";
import { Request } from "../../src/vhost_user/numbers.ts";
import { ringParts } from "../../src/virtio/layouts.ts";
import { openFile } from "../support/descriptors.ts";
import type { RawClient } from "../support/raw_client.ts";
import { testAttack, type TestLab } from "../support/test_lab.ts";
import {
  type AddressDraft,
  memoryTable,
  type RegionDraft,
  ringAddress,
  ringState,
  u64,
} from "../support/vhost_messages.ts";

const PAGE = 4096n;
const USER = 0x7f00_0000_0000n;
const RING_SIZE = 16;
const TRANSMIT = 1;
/** The parts of a split ring. */
const PARTS = ringParts(RING_SIZE, false);
type Part = keyof typeof PARTS;
const PART_NAMES = Object.keys(PARTS) as Part[];
/** A ring with room around each of its parts, in the first page. */
const RING = { desc: USER, avail: USER + 0x400n, used: USER + 0x800n };

function memfd(sizeBytes: bigint): Fd {
  return createMemfd("labswitch-hostile", sizeBytes);
}

async function connect(lab: TestLab): Promise<RawClient> {
  return await (await lab.connect("a")).negotiate();
}

async function share(
  client: RawClient,
  regions: readonly RegionDraft[],
  fds: readonly Fd[],
): Promise<bigint> {
  return await client.ask(Request.SET_MEM_TABLE, memoryTable(regions), fds);
}

/** Describes the transmit ring and starts it; 0 when the switch has. */
async function start(client: RawClient, ring: AddressDraft): Promise<bigint> {
  await client.ask(Request.SET_VRING_NUM, ringState(TRANSMIT, RING_SIZE));
  await client.ask(Request.SET_VRING_BASE, ringState(TRANSMIT, 0));
  await client.ask(Request.SET_VRING_ADDR, ringAddress(TRANSMIT, ring));
  return await client.ask(Request.SET_VRING_KICK, u64(0x100 | TRANSMIT));
}

/** The ring is refused because no region holds all of it. */
async function expectRefusal(lab: TestLab, client: RawClient, ring: AddressDraft): Promise<void> {
  strictEqual(await start(client, ring), 1n);
  const event = lab.events.findLast(({ kind }) => kind === "request-refused");
  match(event?.kind === "request-refused" ? event.reason : "", /lies in no memory region/);
}

for (const part of PART_NAMES) {
  testAttack(
    `Switch refuses a ring whose ${part} part crosses into the next region (G19)`,
    async (lab) => {
      using client = await connect(lab);
      using first = memfd(PAGE);
      using second = memfd(PAGE);
      // They follow each other in the guest's addresses and in the front-end's.
      const regions = [0n, PAGE].map((at) => ({ guest: at, size: PAGE, user: USER + at }));
      strictEqual(await share(client, regions, [first, second]), 0n);
      const border = USER + PAGE;
      for (const inside of [PARTS[part].align, PARTS[part].bytes / 2 & ~15]) {
        await expectRefusal(lab, client, { ...RING, [part]: border - BigInt(inside) });
      }
      // In the one, in the other, and with its parts in both.
      strictEqual(await start(client, RING), 0n);
      await client.say(Request.GET_VRING_BASE, ringState(TRANSMIT, 0));
      await client.reply();
      strictEqual(await start(client, { ...RING, [part]: border }), 0n);
    },
  );

  testAttack(
    `Switch refuses a ring whose ${part} part ends one byte past its region (G20)`,
    async (lab) => {
      using client = await connect(lab);
      const { bytes } = PARTS[part];
      const at = 0xc00n;
      const ring = { ...RING, [part]: USER + at };
      for (const [missing, answer] of [[1n, 1n], [0n, 0n]] as const) {
        // The file goes on behind the region.
        using file = memfd(2n * PAGE);
        const region = { guest: 0n, size: at + BigInt(bytes) - missing, user: USER };
        strictEqual(await share(client, [region], [file]), 0n);
        if (answer === 1n) await expectRefusal(lab, client, ring);
        else strictEqual(await start(client, ring), 0n);
      }
    },
  );
}

const READ_ONLY: Readonly<Record<string, () => Fd>> = {
  "opened for reading": () => {
    using file = memfd(PAGE);
    return openFile(`/proc/self/fd/${file.number}`, "r");
  },
  "sealed against writing": () => {
    const file = memfd(PAGE);
    addSeals(file, F_SEAL_WRITE);
    return file;
  },
};

for (const [what, open] of Object.entries(READ_ONLY)) {
  testAttack(`Switch starts no ring in memory that was ${what} (G21)`, async (lab) => {
    using client = await connect(lab);
    using good = memfd(PAGE);
    using bad = open();
    const here = { guest: 0n, size: PAGE, user: USER };
    const there = { guest: PAGE, size: PAGE, user: USER + PAGE };
    // The table is refused at once, so that there is nothing for the ring to lie in.
    strictEqual(await share(client, [here, there], [good, bad]), 1n);
    const elsewhere = {
      ...{ desc: RING.desc + PAGE, avail: RING.avail + PAGE, used: RING.used + PAGE },
    };
    strictEqual(await start(client, elsewhere), 1n);
    strictEqual(lab.events.at(-1)?.kind, "no-memory");
    strictEqual(await share(client, [here], [good]), 0n);
    await expectRefusal(lab, client, elsewhere);
    strictEqual(await start(client, RING), 0n);
  });
}

testAttack("Switch keeps memory writable that a ring lies in (G21)", async (lab) => {
  using client = await connect(lab);
  using file = memfd(PAGE);
  strictEqual(await share(client, [{ guest: 0n, size: PAGE, user: USER }], [file]), 0n);
  strictEqual(await start(client, RING), 0n);
  // The kernel refuses this seal for as long as somebody has the file mapped to write.
  let isSealed = true;
  try {
    addSeals(file, F_SEAL_WRITE);
  } catch {
    isSealed = false;
  }
  ok(!isSealed);
});
