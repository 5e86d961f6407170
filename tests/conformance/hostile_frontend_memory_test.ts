/**
 * Memory tables that cannot be mapped, or must not be. Each hits port `a` of a running switch with
 * real files; then `b` and `c`, and `a` itself, must work.
 *
 * @module
 */
import { match, ok, strictEqual } from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { EventFd } from "../../ffi/eventfd.ts";
import type { Fd } from "../../ffi/fd.ts";
import { libc } from "../../ffi/libc.ts";
import { addSeals, createMemfd, F_SEAL_WRITE } from "../../ffi/memory.ts";
import { unixSocketPair } from "../../ffi/unix_socket.ts";
import { encode } from "../../src/vhost_user/message.ts";
import { FLAG_NEED_REPLY, Request } from "../../src/vhost_user/numbers.ts";
import { openFile } from "../support/descriptors.ts";
import { countDescriptors, countMappings } from "../support/leaks.ts";
import type { RawClient } from "../support/raw_client.ts";
import { testAttack, type TestLab } from "../support/test_lab.ts";
import { memoryTable, type RegionDraft } from "../support/vhost_messages.ts";

const PAGE = 4096n;
const GIB = 2n ** 30n;
/** No later write through a new mapping (linux/fcntl.h). */
const F_SEAL_FUTURE_WRITE = 16;
/** A memory file's name, by which its mappings are found. */
const MEMFD = "labswitch-hostile";

/** A region of one page at the start of its file. */
const REGION: RegionDraft = { guest: 0n, size: PAGE, user: 0x7f00_0000_0000n };

function memfd(sizeBytes: bigint): Fd {
  return createMemfd(MEMFD, sizeBytes);
}

/** Sends a memory table and asks whether it is accepted. */
async function share(
  client: RawClient,
  regions: readonly RegionDraft[],
  fds: readonly Fd[],
): Promise<bigint> {
  return await client.ask(Request.SET_MEM_TABLE, memoryTable(regions), fds);
}

/** The switch answers no, says why, keeps nothing, and goes on talking (R4). */
async function expectRefusal(
  lab: TestLab,
  regions: readonly RegionDraft[],
  fds: readonly Fd[],
  reason: RegExp = /./,
): Promise<void> {
  using client = await (await lab.connect("a")).negotiate();
  await client.probe();
  const before = countDescriptors();
  strictEqual(await share(client, regions, fds), 1n);
  match(lab.refusal(), reason);
  strictEqual(countDescriptors(), before);
  ok(await client.probe() > 0n);
}

function testRefusal(
  name: string,
  regions: readonly RegionDraft[],
  openFiles: () => Fd[],
  reason?: RegExp,
): void {
  testAttack(name, async (lab) => {
    const fds = openFiles();
    try {
      await expectRefusal(lab, regions, fds, reason);
    } finally {
      for (const fd of fds) fd.close();
    }
  });
}

/** A second descriptor of a memory file that can only be read. */
function readOnly(): Fd {
  using writable = memfd(PAGE);
  return openFile(`/proc/self/fd/${writable.number}`, "r");
}

function sealed(seal: number): Fd {
  const fd = memfd(PAGE);
  addSeals(fd, seal);
  return fd;
}

testRefusal("Switch refuses a memory table without regions (F37)", [], () => []);

testAttack("Switch disconnects a front-end whose region count is a lie (F38)", async (lab) => {
  using fd = memfd(PAGE);
  for (const count of [0, 2, 9, 64, 2 ** 32 - 1]) {
    using client = await lab.connect("a");
    const table = memoryTable([REGION], count);
    await client.send(encode(Request.SET_MEM_TABLE, FLAG_NEED_REPLY, table), [fd]);
    await client.end();
  }
});

testAttack(
  "Switch disconnects a front-end with more or fewer files than regions (F39)",
  async (lab) => {
    using fd = memfd(2n * PAGE);
    for (const count of [0, 1, 3, 8, 9]) {
      using client = await lab.connect("a");
      const table = memoryTable([REGION, REGION]);
      await client.send(encode(Request.SET_MEM_TABLE, 0, table), new Array(count).fill(fd));
      await client.end();
    }
  },
);

testRefusal(
  "Switch refuses a region of no bytes (F40)",
  [{ ...REGION, size: 0n }],
  () => [memfd(PAGE)],
  /its size is 0/,
);

testAttack("Switch survives a region that ends inside a page (F41)", async (lab) => {
  using client = await (await lab.connect("a")).negotiate();
  using fd = memfd(PAGE + 1n);
  for (const size of [1n, PAGE - 1n, PAGE + 1n]) {
    ok(await share(client, [{ ...REGION, size }], [fd]) <= 1n);
  }
});

testRefusal(
  "Switch refuses a region whose offset and size wrap around (F42)",
  [{ ...REGION, offset: 2n ** 64n - PAGE, size: 2n * PAGE }],
  () => [memfd(2n * PAGE)],
);

testRefusal(
  "Switch refuses a region that begins behind its file (F43)",
  [{ ...REGION, offset: 2n * PAGE }],
  () => [memfd(PAGE)],
  /ends behind its file/,
);

testRefusal(
  "Switch refuses a region that is longer than its file (F44)",
  [{ ...REGION, size: 2n * PAGE }],
  () => [memfd(2n * PAGE - 1n)],
  /ends behind its file/,
);

testAttack("Switch keeps a memory file that it has mapped from shrinking (F45)", async (lab) => {
  using client = await (await lab.connect("a")).negotiate();
  using fd = memfd(PAGE);
  strictEqual(await share(client, [REGION], [fd]), 0n);
  strictEqual(libc().ftruncate(fd.number, 0n), -1);
});

testRefusal(
  "Switch refuses regions that overlap in guest addresses (F49)",
  [{ ...REGION, size: 2n * PAGE }, { ...REGION, guest: PAGE, user: 0n }],
  () => [memfd(2n * PAGE), memfd(PAGE)],
  /overlap/,
);

testRefusal(
  "Switch refuses regions that overlap in front-end addresses (F50)",
  [{ ...REGION, size: 2n * PAGE }, { ...REGION, guest: GIB, user: REGION.user! + PAGE }],
  () => [memfd(2n * PAGE), memfd(PAGE)],
  /overlap/,
);

testRefusal(
  "Switch refuses the same region twice in one table (F49)",
  [REGION, REGION],
  () => [memfd(PAGE), memfd(PAGE)],
  /overlap/,
);

testRefusal(
  "Switch refuses a region whose guest addresses wrap around (F51)",
  [{ ...REGION, guest: 2n ** 64n - PAGE, size: 2n * PAGE }],
  () => [memfd(2n * PAGE)],
  /guest addresses wrap/,
);

testRefusal(
  "Switch refuses a region whose front-end addresses wrap around (F51)",
  [{ ...REGION, user: 2n ** 64n - 1n }],
  () => [memfd(PAGE)],
  /front-end addresses wrap/,
);

testRefusal(
  "Switch refuses a region whose file offset is not page aligned (F52)",
  [{ ...REGION, offset: 1n, size: PAGE - 1n }],
  () => [memfd(2n * PAGE)],
  /not page aligned/,
);

testRefusal(
  "Switch refuses a memory file that it can only read (F53)",
  [REGION],
  () => [readOnly()],
);

testRefusal(
  "Switch refuses a memory file that is sealed against writing (F54)",
  [REGION],
  () => [sealed(F_SEAL_WRITE)],
);

testRefusal(
  "Switch refuses a memory file that is sealed against later writing (F54)",
  [REGION],
  () => [sealed(F_SEAL_FUTURE_WRITE)],
);

testRefusal(
  "Switch refuses a region of 1 PiB and names the limit (F55)",
  [{ ...REGION, size: 2n ** 50n }],
  () => [memfd(2n ** 50n)],
  /a port can map a little less than 16\.0 GiB/,
);

testRefusal(
  "Switch refuses 16 GiB of guest memory, also in parts, and says to give the guest less (F55)",
  [{ ...REGION, size: 8n * GIB }, { guest: 8n * GIB, size: 8n * GIB, user: 0n }],
  () => [memfd(8n * GIB), memfd(8n * GIB)],
  /16\.0 GiB does not fit.*give the guest less memory/,
);

testAttack("Switch maps 15 GiB of guest memory without occupying it", async (lab) => {
  using client = await (await lab.connect("a")).negotiate();
  using fd = memfd(15n * GIB);
  strictEqual(await share(client, [{ ...REGION, size: 15n * GIB }], [fd]), 0n);
});

testRefusal(
  "Switch refuses guest memory that is not shared and names the option that shares it",
  [REGION],
  () => [openFile("/proc/self/status", "r")],
  /neither memfd, tmpfs nor hugetlbfs; use -object memory-backend-memfd,share=on/,
);

testRefusal(
  "Switch refuses a plain file as guest memory (F62)",
  [{ ...REGION, size: 64n }],
  () => [openFile(fileURLToPath(import.meta.url), "r")],
);

testRefusal("Switch refuses a zero device as guest memory (F27)", [REGION], () => [
  openFile("/dev/zero", "r+"),
]);

testRefusal("Switch refuses a folder as guest memory (F27)", [{ ...REGION, size: 1n }], () => [
  openFile("/dev", "r"),
]);

testRefusal("Switch refuses an eventfd as guest memory (F27)", [REGION], () => [
  EventFd.create().fd,
]);

testRefusal(
  "Switch refuses sockets as guest memory (F27)",
  [REGION, { guest: GIB, size: PAGE, user: 0n }],
  () => [...unixSocketPair()],
);

testAttack("Switch refuses a FIFO as guest memory (F27)", async (lab) => {
  const folder = await Deno.makeTempDir({ prefix: "labswitch-test-" });
  try {
    const path = join(folder, "fifo");
    await new Deno.Command("mkfifo", { args: [path] }).output();
    using fd = openFile(path, "r+");
    await expectRefusal(lab, [REGION], [fd]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

testAttack("Switch maps one file for several regions (F31)", async (lab) => {
  using client = await (await lab.connect("a")).negotiate();
  using fd = memfd(2n * PAGE);
  const high = { guest: 4n * GIB, size: PAGE, user: 0n, offset: PAGE };
  strictEqual(await share(client, [REGION, high], [fd, fd]), 0n);
  strictEqual(countMappings(Deno.pid, MEMFD), 2);
});

testAttack("Switch keeps the regions that it has when it refuses new ones", async (lab) => {
  using client = await (await lab.connect("a")).negotiate();
  using fd = memfd(2n * PAGE);
  strictEqual(await share(client, [REGION], [fd]), 0n);
  strictEqual(await share(client, [{ ...REGION, size: 0n }], [fd]), 1n);
  strictEqual(await share(client, [REGION, REGION], [fd, fd]), 1n);
  strictEqual(countMappings(Deno.pid, MEMFD), 1);
});

testAttack(
  "Switch keeps the regions that it has when the system refuses new ones (F53)",
  async (lab) => {
    using client = await (await lab.connect("a")).negotiate();
    using fd = memfd(PAGE);
    using bad = readOnly();
    strictEqual(await share(client, [REGION], [fd]), 0n);
    strictEqual(await share(client, [REGION], [bad]), 1n);
    strictEqual(countMappings(Deno.pid, MEMFD), 1);
  },
);

testAttack("Switch takes an identical table twice and closes the new files (F57)", async (lab) => {
  using client = await (await lab.connect("a")).negotiate();
  using fd = memfd(PAGE);
  strictEqual(await share(client, [REGION], [fd]), 0n);
  const before = countDescriptors();
  strictEqual(await share(client, [REGION], [fd]), 0n);
  strictEqual(countDescriptors(), before);
  strictEqual(countMappings(Deno.pid, MEMFD), 1);
});

testAttack("Switch leaks nothing in 500 changes of the memory table (F61)", async (lab) => {
  using client = await (await lab.connect("a")).negotiate();
  using fd = memfd(8n * PAGE);
  await client.probe();
  const [descriptors, mappings] = [countDescriptors(), countMappings(Deno.pid, MEMFD)];
  for (let i = 0; i < 500; i++) {
    const size = BigInt(1 + i % 8) * PAGE;
    strictEqual(await share(client, [{ ...REGION, size }], [fd]), 0n);
  }
  strictEqual(countDescriptors(), descriptors);
  strictEqual(countMappings(Deno.pid, MEMFD), mappings + 1);
});

testAttack("Switch unmaps guest memory when its front-end leaves", async (lab) => {
  using fd = memfd(PAGE);
  {
    using client = await (await lab.connect("a")).negotiate();
    strictEqual(await share(client, [REGION], [fd]), 0n);
    strictEqual(countMappings(Deno.pid, MEMFD), 1);
  }
  await lab.idle("a");
  strictEqual(countMappings(Deno.pid, MEMFD), 0);
});
