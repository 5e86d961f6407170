import { deepStrictEqual, strictEqual, throws } from "node:assert/strict";
import { EventFd } from "../../../ffi/eventfd.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { libc } from "../../../ffi/libc.ts";
import { createMemfd, memoryAddress } from "../../../ffi/memory.ts";
import { PortMemory } from "../../../src/control/port_memory.ts";
import type { RegionRequest } from "../../../src/control/region_rules.ts";
import { MAX_MEMORY_SLOTS } from "../../../src/vhost_user/numbers.ts";
import { noHandler } from "../../support/bus_fault.ts";
import { openFile } from "../../support/descriptors.ts";
import { countDescriptors, countMappings } from "../../support/leaks.ts";
import { createScarce, noEmptyPool } from "../../support/scarce_pages.ts";
import { testWith } from "../../support/test_with.ts";

const PAGE = 4096n;
const MIB = 2n ** 20n;
const GIB = 2n ** 30n;
/** Every place is a multiple of this, counted from where addresses of the process begin. */
const ALIGN = 2n * MIB;
/** Guest memory that one byte of a log stands for: 8 pages. */
const BYTES_PER_LOG_BYTE = 8n * PAGE;
/** Bytes at a file's start that are its number. */
const MARK_BYTES = 8;
/** By this the mappings of a test are found. */
const MEMFD = "labswitch-port-memory";

/** Files of a test, closed at its end. */
class Files implements Disposable {
  readonly #fds: Fd[] = [];

  /** Makes a file whose first bytes are its number, 1 for the first. */
  create(sizeBytes: bigint): Fd {
    const fd = createMemfd(MEMFD, sizeBytes);
    this.#fds.push(fd);
    libc().write(fd.number, new Uint8Array(MARK_BYTES).fill(this.#fds.length), BigInt(MARK_BYTES));
    return fd;
  }

  [Symbol.dispose](): void {
    for (const fd of this.#fds) fd.close();
  }
}

function request(fd: Fd, draft: Partial<Omit<RegionRequest, "fd">> = {}): RegionRequest {
  const { sizeBytes = PAGE, guestAddress = 0n, offsetBytes = 0n } = draft;
  const frontendAddress = draft.frontendAddress ?? guestAddress + 0x7f00_0000_0000n;
  return { fd, sizeBytes, guestAddress, frontendAddress, offsetBytes };
}

/** Regions of a page, one behind the other in guest addresses. */
function requests(...fds: readonly Fd[]): RegionRequest[] {
  return fds.map((fd, i) => request(fd, { guestAddress: BigInt(i) * PAGE }));
}

/** What stands at a place of the port's memory. */
function byteAt(memory: PortMemory, address: bigint): number {
  return new Uint8Array(memory.memory.buffer)[Number(address)]!;
}

/** Where the first region lies: V8 does not always begin a memory where a huge page could. */
function firstOf({ memory }: PortMemory): bigint {
  const base = memoryAddress(memory);
  return (base + 2n * ALIGN - 1n) / ALIGN * ALIGN - base;
}

function places({ regions }: PortMemory): bigint[] {
  return regions.map(({ localAddress }) => localAddress);
}

Deno.test("PortMemory.map lays the regions behind each other, each where a huge page could begin", () => {
  using files = new Files();
  using memory = new PortMemory();
  const large = files.create(3n * MIB);
  const [small, other] = [files.create(PAGE), files.create(PAGE)];
  memory.map([
    request(large, { sizeBytes: 3n * MIB }),
    request(small, { guestAddress: GIB }),
    request(other, { guestAddress: 2n ** 64n - PAGE, frontendAddress: 0n }),
  ]);
  deepStrictEqual(places(memory), [
    firstOf(memory),
    firstOf(memory) + 4n * MIB,
    firstOf(memory) + 6n * MIB,
  ]);
  deepStrictEqual(places(memory).map((at) => byteAt(memory, at)), [1, 2, 3]);
  strictEqual(memory.sizeBytes, 3n * MIB + 2n * PAGE);
  strictEqual(countMappings(Deno.pid, MEMFD), 3);
  memory.unmap();
});

Deno.test("PortMemory.map begins a region at its offset in the file", () => {
  using files = new Files();
  using memory = new PortMemory();
  const file = files.create(3n * PAGE);
  memory.map([request(file, { offsetBytes: PAGE, sizeBytes: 2n * PAGE })]);
  const bytes = new Uint8Array(memory.memory.buffer);
  bytes[Number(firstOf(memory))] = 77;
  using again = new PortMemory();
  again.map([request(file, { sizeBytes: 3n * PAGE })]);
  strictEqual(byteAt(again, firstOf(again)), 1);
  strictEqual(byteAt(again, firstOf(again) + PAGE), 77);
  memory.unmap();
  again.unmap();
});

Deno.test("PortMemory.map puts new regions in the place of the old ones (F56, F57)", () => {
  using files = new Files();
  using memory = new PortMemory();
  const [one, two, three] = [files.create(PAGE), files.create(PAGE), files.create(PAGE)];
  memory.map(requests(one, two));
  const second = places(memory)[1]!;
  memory.map(requests(three));
  deepStrictEqual(places(memory), [firstOf(memory)]);
  strictEqual(byteAt(memory, firstOf(memory)), 3);
  strictEqual(byteAt(memory, second), 0);
  memory.map(requests(three));
  strictEqual(byteAt(memory, firstOf(memory)), 3);
  memory.unmap();
});

Deno.test("PortMemory.map keeps what is mapped when a region breaks a rule", () => {
  using files = new Files();
  using memory = new PortMemory();
  const file = files.create(PAGE);
  memory.map(requests(file));
  for (
    const wrong of [
      [request(file), request(file)],
      [request(file, { sizeBytes: 0n })],
      [request(file), request(file, { guestAddress: GIB, sizeBytes: 2n * PAGE })],
    ]
  ) {
    throws(() => memory.map(wrong), { name: "RequestRefused" });
    strictEqual(memory.regions.length, 1);
    strictEqual(byteAt(memory, firstOf(memory)), 1);
  }
  memory.unmap();
});

testWith(
  noEmptyPool,
  "PortMemory.map leaves no hole and no region when the system refuses one (F47)",
  () => {
    using files = new Files();
    const { fd, sizeBytes } = createScarce();
    try {
      using memory = new PortMemory();
      memory.map(requests(files.create(PAGE)));
      throws(
        () =>
          memory.map([request(files.create(PAGE)), request(fd, { sizeBytes, guestAddress: GIB })]),
        {
          name: "RequestRefused",
          message: /ENOMEM/,
        },
      );
      deepStrictEqual(memory.regions, []);
      strictEqual(byteAt(memory, firstOf(memory)), 0);
      throws(() => memory.add(request(fd, { sizeBytes })), { name: "RequestRefused" });
      deepStrictEqual(memory.regions, []);
      // Every byte up to the end can be read.
      const bytes = new Uint8Array(memory.memory.buffer);
      for (let at = 0; at < bytes.length; at += Number(MIB)) strictEqual(bytes[at], 0);
      strictEqual(countMappings(Deno.pid, MEMFD), 0);
    } finally {
      fd.close();
    }
    return Promise.resolve();
  },
);

Deno.test("PortMemory.add puts a region into the first gap that is large enough (F58)", () => {
  using files = new Files();
  using memory = new PortMemory();
  const fds = [1, 2, 3, 4, 5].map(() => files.create(4n * MIB));
  const [a, b, c] = requests(...fds.slice(0, 3));
  for (const region of [a!, b!, c!]) memory.add(region);
  deepStrictEqual(places(memory), [
    firstOf(memory),
    firstOf(memory) + 2n * MIB,
    firstOf(memory) + 4n * MIB,
  ]);
  memory.remove(b!);
  memory.add(request(fds[3]!, { guestAddress: GIB, sizeBytes: 4n * MIB }));
  strictEqual(places(memory).at(-1), firstOf(memory) + 6n * MIB);
  memory.add(request(fds[4]!, { guestAddress: 2n * GIB, sizeBytes: 2n * MIB }));
  strictEqual(places(memory).at(-1), firstOf(memory) + 2n * MIB);
  deepStrictEqual(places(memory).map((at) => byteAt(memory, at)), [1, 3, 4, 5]);
  memory.unmap();
});

Deno.test("PortMemory.add refuses a region that overlaps another, or is there already (F58)", () => {
  using files = new Files();
  using memory = new PortMemory();
  const file = files.create(4n * PAGE);
  const first = request(file, { guestAddress: 2n * PAGE, sizeBytes: 2n * PAGE });
  memory.add(first);
  for (
    const wrong of [
      first,
      request(file, { guestAddress: PAGE, sizeBytes: 2n * PAGE }),
      request(file, { guestAddress: 3n * PAGE }),
      request(file, { guestAddress: GIB, frontendAddress: first.frontendAddress + PAGE }),
    ]
  ) {
    throws(() => memory.add(wrong), { name: "RequestRefused", message: /overlap/ });
  }
  strictEqual(memory.regions.length, 1);
  memory.unmap();
});

Deno.test("PortMemory of several queue pairs may hear of a region once for each (F58, F59)", () => {
  using files = new Files();
  using memory = new PortMemory(2);
  const file = files.create(2n * PAGE);
  using again = file.duplicate();
  const region = request(file);
  throws(() => memory.remove(region), { name: "RequestRefused" });
  for (let round = 0; round < 2; round++) {
    memory.add(region);
    memory.add({ ...region, fd: again });
    for (const wrong of [{ fd: files.create(PAGE) }, { offsetBytes: PAGE }, { sizeBytes: 8192n }]) {
      throws(() => memory.add({ ...region, ...wrong }), { name: "RequestRefused" });
    }
    deepStrictEqual(places(memory), [firstOf(memory)]);
    strictEqual(byteAt(memory, firstOf(memory)), 1);
    memory.remove(region);
    memory.remove(region);
    deepStrictEqual(places(memory), []);
  }
  memory.unmap();
  throws(() => memory.remove(region), { name: "RequestRefused" });
});

Deno.test("PortMemory remembers no more removed regions than there are slots (F59)", () => {
  using files = new Files();
  using memory = new PortMemory(2);
  const file = files.create(PAGE);
  const slot = (i: number) => request(file, { guestAddress: BigInt(i) * PAGE });
  for (let i = 0; i <= MAX_MEMORY_SLOTS; i++) {
    memory.add(slot(i));
    memory.remove(slot(i));
  }
  memory.remove(slot(1));
  throws(() => memory.remove(slot(0)), { name: "RequestRefused" });
  memory.unmap();
});

Deno.test("PortMemory.add refuses one region more than there are slots (F58)", () => {
  using files = new Files();
  using memory = new PortMemory();
  const file = files.create(PAGE);
  const slot = (i: number) => request(file, { guestAddress: BigInt(i) * PAGE });
  for (let i = 0; i < MAX_MEMORY_SLOTS; i++) memory.add(slot(i));
  throws(() => memory.add(slot(MAX_MEMORY_SLOTS)), {
    name: "RequestRefused",
    message: /all 64 memory slots are taken/,
  });
  strictEqual(memory.regions.length, MAX_MEMORY_SLOTS);
  memory.remove(slot(7));
  memory.add(slot(MAX_MEMORY_SLOTS));
  memory.unmap();
});

Deno.test("PortMemory.add refuses what does not fit into 16 GiB together and keeps the rest (F55)", () => {
  using files = new Files();
  using memory = new PortMemory();
  const file = files.create(15n * GIB);
  memory.add(request(file));
  memory.add(request(file, { guestAddress: GIB, sizeBytes: 15n * GIB }));
  throws(() => memory.add(request(file, { guestAddress: 32n * GIB, sizeBytes: GIB })), {
    name: "RequestRefused",
    message: /does not fit/,
  });
  deepStrictEqual(places(memory), [firstOf(memory), firstOf(memory) + 2n * MIB]);
  strictEqual(byteAt(memory, firstOf(memory)), 1);
  memory.unmap();
});

Deno.test("PortMemory.remove leaves zeros in the region's place and the others where they are (F59)", () => {
  using files = new Files();
  using memory = new PortMemory();
  const [one, two] = requests(files.create(PAGE), files.create(PAGE));
  for (const region of [one!, two!]) memory.add(region);
  const [first, second] = places(memory);
  const before = countMappings(Deno.pid, MEMFD);
  memory.remove(one!);
  deepStrictEqual(places(memory), [second]);
  strictEqual(byteAt(memory, first!), 0);
  strictEqual(byteAt(memory, second!), 2);
  strictEqual(countMappings(Deno.pid, MEMFD), before - 1);
  memory.unmap();
});

Deno.test("PortMemory.remove refuses a region unless both addresses and the size are its own (F59)", () => {
  using files = new Files();
  using memory = new PortMemory();
  const region = request(files.create(2n * PAGE), { guestAddress: GIB });
  throws(() => memory.remove(region), { name: "RequestRefused", message: /no such memory region/ });
  memory.add(region);
  for (
    const wrong of [
      { ...region, guestAddress: GIB + PAGE },
      { ...region, frontendAddress: GIB },
      { ...region, sizeBytes: 2n * PAGE },
    ]
  ) {
    throws(() => memory.remove(wrong), { name: "RequestRefused" });
  }
  strictEqual(memory.regions.length, 1);
  // Where it starts in its file does not name it.
  memory.remove({ ...region, offsetBytes: PAGE } as RegionRequest);
  deepStrictEqual(memory.regions, []);
});

Deno.test("PortMemory.translate finds a range in one region, and none that leaves it (F60, F69)", () => {
  using files = new Files();
  using memory = new PortMemory();
  const file = files.create(4n * PAGE);
  const [low, high] = [0x1000n, 0x3000n];
  memory.add(request(file, { frontendAddress: low, sizeBytes: 2n * PAGE }));
  // The next in front-end addresses, but not in the port's memory.
  memory.add(request(file, { guestAddress: GIB, frontendAddress: high, sizeBytes: PAGE }));
  strictEqual(memory.translate(low, 2n * PAGE), firstOf(memory));
  strictEqual(memory.translate(low + 5n, 1n), firstOf(memory) + 5n);
  strictEqual(memory.translate(high + PAGE - 1n, 1n), firstOf(memory) + 2n * MIB + PAGE - 1n);
  for (
    const [address, length] of [[low - 1n, 2n], [high - 1n, 2n], [high, PAGE + 1n], [
      0n,
      1n,
    ]] as const
  ) {
    strictEqual(memory.translate(address, length), null, `${address} ${length}`);
  }
  strictEqual(memory.translate(2n ** 64n - 1n, 2n ** 64n - 1n), null);
  memory.remove(request(file, { frontendAddress: low, sizeBytes: 2n * PAGE }));
  strictEqual(memory.translate(low, 1n), null);
  memory.unmap();
});

Deno.test("PortMemory.read16 reads what the guest wrote, lowest byte first", () => {
  using files = new Files();
  using memory = new PortMemory();
  const file = files.create(PAGE);
  memory.map([request(file)]);
  libc().write(file.number, Uint8Array.of(0x34, 0x12), 2n);
  strictEqual(memory.read16(firstOf(memory) + BigInt(MARK_BYTES)), 0x1234);
  memory.unmap();
});

Deno.test("PortMemory.setLog maps the log beside the regions and keeps it over other tables (Migration)", () => {
  using files = new Files();
  using memory = new PortMemory();
  const [guest, other, log] = [files.create(PAGE), files.create(PAGE), files.create(2n * PAGE)];
  memory.map(requests(guest));
  memory.setLog({ fd: log, sizeBytes: PAGE, offsetBytes: PAGE });
  deepStrictEqual(memory.log, { localAddress: firstOf(memory) + 2n * MIB, sizeBytes: PAGE });
  new Uint8Array(memory.memory.buffer)[Number(firstOf(memory) + 2n * MIB)] = 9;
  memory.map(requests(other, guest));
  strictEqual(byteAt(memory, memory.log!.localAddress), 9);
  // Two regions now, and neither where the log is.
  deepStrictEqual(places(memory), [firstOf(memory), firstOf(memory) + 4n * MIB]);
  deepStrictEqual(places(memory).map((at) => byteAt(memory, at)), [2, 1]);
  strictEqual(memory.sizeBytes, 2n * PAGE);
  memory.unmap();
});

Deno.test("PortMemory.setLog puts a log in the place of the one before and unmaps that (Migration)", () => {
  using files = new Files();
  using memory = new PortMemory();
  const guest = files.create(PAGE);
  const [one, two] = [files.create(PAGE), files.create(PAGE)];
  memory.map(requests(guest));
  const before = countMappings(Deno.pid, MEMFD);
  memory.setLog({ fd: one, sizeBytes: PAGE, offsetBytes: 0n });
  const first = memory.log!.localAddress;
  memory.setLog({ fd: two, sizeBytes: PAGE, offsetBytes: 0n });
  strictEqual(byteAt(memory, memory.log!.localAddress), 3);
  strictEqual(byteAt(memory, first), 0);
  strictEqual(countMappings(Deno.pid, MEMFD), before + 1);
  memory.setLog({ fd: one, sizeBytes: PAGE, offsetBytes: 0n });
  strictEqual(memory.log!.localAddress, first);
  memory.unmap();
});

Deno.test("PortMemory.setLog refuses a log that does not reach the end of the memory (F92)", () => {
  using files = new Files();
  using memory = new PortMemory();
  const guest = files.create(PAGE);
  const log = files.create(2n * PAGE);
  const end = PAGE * BYTES_PER_LOG_BYTE;
  memory.map([request(guest, { guestAddress: 0n }), request(guest, { guestAddress: end - PAGE })]);
  throws(() => memory.setLog({ fd: log, sizeBytes: PAGE - 1n, offsetBytes: 0n }), {
    name: "RequestRefused",
    message: /a log of 4095 bytes does not reach the memory's end/,
  });
  strictEqual(memory.log, null);
  memory.setLog({ fd: log, sizeBytes: PAGE, offsetBytes: 0n });
  const there = memory.log;
  throws(() => memory.setLog({ fd: log, sizeBytes: 1n, offsetBytes: 0n }), /does not reach/);
  strictEqual(memory.log, there);
  memory.unmap();
});

Deno.test("PortMemory.setLog takes any log while there is no memory (Migration)", () => {
  using files = new Files();
  using memory = new PortMemory();
  memory.setLog({ fd: files.create(PAGE), sizeBytes: 1n, offsetBytes: 0n });
  strictEqual(byteAt(memory, memory.log!.localAddress), 1);
  memory.unmap();
});

Deno.test("PortMemory.setLog refuses what regions are refused for (F92)", () => {
  using files = new Files();
  using event = EventFd.create();
  using device = openFile("/dev/zero", "r+");
  using memory = new PortMemory();
  const log = files.create(2n * PAGE);
  const parts = [
    { fd: log, sizeBytes: 0n, offsetBytes: 0n },
    { fd: log, sizeBytes: PAGE, offsetBytes: 1n },
    { fd: log, sizeBytes: PAGE + 1n, offsetBytes: PAGE },
    { fd: log, sizeBytes: PAGE, offsetBytes: 2n ** 64n - PAGE },
    { fd: log, sizeBytes: 2n ** 64n - PAGE, offsetBytes: 2n * PAGE },
    { fd: event.fd, sizeBytes: PAGE, offsetBytes: 0n },
    { fd: device, sizeBytes: PAGE, offsetBytes: 0n },
  ];
  for (const part of parts) {
    throws(() => memory.setLog(part), { name: "RequestRefused", message: /^the log: / });
  }
  strictEqual(memory.log, null);
});

testWith(noHandler, "PortMemory tells once that pages were taken, and not the next guest", () => {
  using memory = new PortMemory();
  for (const isAsked of [true, false]) {
    using file = createMemfd(MEMFD, PAGE, { sealable: false });
    memory.map([request(file)]);
    libc().ftruncate(file.number, 0n);
    strictEqual(byteAt(memory, firstOf(memory)), 0);
    if (isAsked) deepStrictEqual([memory.wasTaken(), memory.wasTaken()], [true, false]);
    memory.unmap();
    strictEqual(memory.wasTaken(), false);
  }
  return Promise.resolve();
});

Deno.test("PortMemory.unmap leaves zeros, no mapping, and room for the next guest", () => {
  using files = new Files();
  using memory = new PortMemory();
  const [guest, log] = [files.create(PAGE), files.create(PAGE)];
  const before = [countMappings(Deno.pid, MEMFD), countDescriptors()];
  for (let round = 0; round < 3; round++) {
    memory.map(requests(guest));
    memory.setLog({ fd: log, sizeBytes: PAGE, offsetBytes: 0n });
    deepStrictEqual([places(memory), memory.log!.localAddress], [
      [firstOf(memory)],
      firstOf(memory) + 2n * MIB,
    ]);
    memory.unmap();
    deepStrictEqual([memory.regions, memory.log, memory.sizeBytes], [[], null, 0n]);
    strictEqual(byteAt(memory, firstOf(memory)), 0);
    strictEqual(byteAt(memory, firstOf(memory) + 2n * MIB), 0);
    deepStrictEqual([countMappings(Deno.pid, MEMFD), countDescriptors()], before);
  }
  memory.unmap();
});
