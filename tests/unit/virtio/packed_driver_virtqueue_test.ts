/**
 * The queue's other end here is a device of a few lines, written from the specification.
 *
 * @module
 */
import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import {
  type Buffer,
  type DriverVirtqueueOptions,
  UsedRingError,
} from "../../../src/virtio/driver_virtqueue.ts";
import { PackedDriverVirtqueue } from "../../../src/virtio/packed_driver_virtqueue.ts";
import {
  EVENT_SUPPRESS,
  PACKED_DESC,
  placePackedRing,
} from "../../../src/virtio/packed_layouts.ts";

/** Size of the ring unless a test says otherwise; no power of two. */
const SIZE = 5;
const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;
const AVAIL = 0x80;
const USED = 0x8000;

/** What a device does with a ring, no more than these tests need. */
class Device {
  readonly queue: PackedDriverVirtqueue;
  readonly places = placePackedRing(64, SIZE);
  readonly size: number;
  readonly #memory: ArrayBuffer;
  readonly #view: DataView;
  #slot = 0;
  #isFirstRound = true;

  constructor(more: Partial<DriverVirtqueueOptions> = {}) {
    this.size = more.size ?? SIZE;
    this.places = placePackedRing(64, this.size);
    this.#memory = new ArrayBuffer(Math.ceil((this.places.end + 1024) / 16) * 16);
    new Uint8Array(this.#memory).fill(0xee);
    this.#view = new DataView(this.#memory);
    this.queue = new PackedDriverVirtqueue({
      ...{ memory: this.#memory, size: this.size, places: this.places, hasEventIndex: false },
      ...more,
    });
  }

  get bytes(): Uint8Array {
    return new Uint8Array(this.#memory);
  }

  /** First byte behind the ring that a table may begin at. */
  get spare(): number {
    return Math.ceil(this.places.end / 16) * 16;
  }

  descriptor(slot: number, table: number = this.places.desc) {
    return PACKED_DESC.read(this.#view, table + slot * 16);
  }

  /** Whether the descriptor that comes next is available (2.8.1). */
  get isAvailable(): boolean {
    const marks = this.descriptor(this.#slot).flags & (AVAIL | USED);
    return marks === (this.#isFirstRound ? AVAIL : USED);
  }

  get driverEvent() {
    return EVENT_SUPPRESS.read(this.#view, this.places.avail);
  }

  /** What the device wants to be kicked for. */
  wish(flags: number, slot = 0, isFirstRound = true): void {
    const off_wrap = slot | (isFirstRound ? 0x8000 : 0);
    EVENT_SUPPRESS.write(this.#view, this.places.used, { off_wrap, flags });
  }

  /** Marks a chain of `slots` descriptors as used, in the next place. */
  use(id: number, slots = 1, length = 0, more = 0): void {
    const marks = this.#isFirstRound ? AVAIL | USED : 0;
    const flags = marks | (length > 0 ? WRITE : 0) | more;
    const value = { addr: 0n, len: length, id, flags };
    PACKED_DESC.write(this.#view, this.places.desc + this.#slot * 16, value);
    this.#slot += slots;
    if (this.#slot < this.size) return;
    this.#slot -= this.size;
    this.#isFirstRound = !this.#isFirstRound;
  }
}

const readable: Buffer = { address: 0x1000, length: 12, isWritable: false };
const writable: Buffer = { address: 0x2000, length: 1514, isWritable: true };

/** Adds and publishes chains of one buffer with the tokens given. */
function offer(device: Device, ...tokens: number[]): boolean {
  for (const token of tokens) ok(device.queue.add([readable], token));
  return device.queue.publish();
}

Deno.test("PackedDriverVirtqueue clears its ring and nothing around it", () => {
  const { bytes, places } = new Device();
  strictEqual(bytes[63], 0xee);
  ok(bytes.subarray(64, places.end).every((byte) => byte === 0));
  strictEqual(bytes[places.end], 0xee);
});

Deno.test("PackedDriverVirtqueue.add writes a chain into descriptors that follow each other (2.8.6)", () => {
  const device = new Device();
  ok(device.queue.add([readable, writable], 7));
  device.queue.publish();
  const [first, last] = [device.descriptor(0), device.descriptor(1)];
  deepStrictEqual([first.addr, first.len, first.flags], [0x1000n, 12, NEXT | AVAIL]);
  deepStrictEqual([last.addr, last.len, last.flags], [0x2000n, 1514, WRITE | AVAIL]);
  ok(last.id < SIZE);
  strictEqual(device.descriptor(2).flags, 0);
});

Deno.test("PackedDriverVirtqueue.add gives different ids to chains that are outstanding", () => {
  const device = new Device();
  offer(device, 1, 2, 3, 4, 5);
  const ids = Array.from({ length: SIZE }, (_, slot) => device.descriptor(slot).id);
  strictEqual(new Set(ids).size, SIZE);
});

Deno.test("PackedDriverVirtqueue.add writes addresses above 4 GiB", () => {
  const device = new Device();
  device.queue.add([{ ...readable, address: 0x12_3456_7890 }], 0);
  strictEqual(device.descriptor(0).addr, 0x12_3456_7890n);
});

Deno.test("PackedDriverVirtqueue.add refuses a chain that does not fit, and takes nothing for it", () => {
  const device = new Device();
  ok(device.queue.add([readable, writable, writable, writable], 1));
  strictEqual(device.queue.add([readable, writable], 2), false);
  strictEqual(device.queue.free, 1);
  strictEqual(device.queue.outstanding, 1);
  ok(device.queue.add([readable], 3));
  strictEqual(device.queue.add([readable], 4), false);
});

Deno.test("PackedDriverVirtqueue.add refuses a chain without buffers", () => {
  const device = new Device();
  strictEqual(device.queue.add([], 1), false);
  strictEqual(device.queue.outstanding, 0);
});

Deno.test("PackedDriverVirtqueue.publish makes all added chains visible at once (2.8.21.1)", () => {
  const device = new Device();
  device.queue.add([readable, readable], 1);
  device.queue.add([writable], 2);
  strictEqual(device.isAvailable, false);
  device.queue.publish();
  strictEqual(device.isAvailable, true);
  const flags = [0, 1, 2].map((slot) => device.descriptor(slot).flags);
  deepStrictEqual(flags, [NEXT | AVAIL, AVAIL, WRITE | AVAIL]);
});

Deno.test("PackedDriverVirtqueue.publish turns the marks over with each round (2.8.1)", () => {
  const device = new Device();
  for (let i = 0; i < 4 * SIZE; i++) {
    strictEqual(device.isAvailable, false);
    offer(device, i);
    strictEqual(device.isAvailable, true);
    const mark = Math.trunc(i / SIZE) % 2 === 0 ? AVAIL : USED;
    strictEqual(device.descriptor(i % SIZE).flags & (AVAIL | USED), mark);
    device.use(device.descriptor(i % SIZE).id);
    strictEqual(device.queue.take()?.token, i);
  }
});

Deno.test("PackedDriverVirtqueue.publish lets a chain go on behind the end of the ring (2.8.6, G91)", () => {
  const device = new Device();
  device.queue.add([readable, readable, readable], 1);
  device.queue.publish();
  device.use(device.descriptor(2).id, 3);
  device.queue.take();
  device.queue.add([readable, readable, writable, writable], 2);
  device.queue.publish();
  const flags = [3, 4, 0, 1].map((slot) => device.descriptor(slot).flags);
  deepStrictEqual(flags, [NEXT | AVAIL, NEXT | AVAIL, WRITE | NEXT | USED, WRITE | USED]);
  device.use(device.descriptor(1).id, 4, 9);
  deepStrictEqual(device.queue.take(), { token: 2, length: 9 });
  strictEqual(device.queue.free, SIZE);
});

Deno.test("PackedDriverVirtqueue.publish asks for no kick when there is nothing new", () => {
  const device = new Device();
  strictEqual(device.queue.publish(), false);
  strictEqual(offer(device, 1), true);
  strictEqual(device.queue.publish(), false);
});

Deno.test("PackedDriverVirtqueue.publish asks for no kick when the device does not want any (2.8.14)", () => {
  for (const hasEventIndex of [false, true]) {
    const device = new Device({ hasEventIndex });
    device.wish(1);
    strictEqual(offer(device, 1), false);
    device.wish(0);
    strictEqual(offer(device, 2), true);
  }
});

Deno.test("PackedDriverVirtqueue.publish asks for a kick when it passes the named descriptor (2.8.14)", () => {
  // The batch takes slots 3 and 4 of one round and 0 of the next.
  const cases = [
    ...[[2, true, false], [3, true, true], [4, true, true], [0, false, true], [1, false, false]],
    ...[[3, false, false], [0, true, false], [5, true, false], [0x7fff, true, false]],
  ] as const;
  for (const isSecond of [false, true]) {
    for (const [slot, isSameRound, mustKick] of cases) {
      const device = new Device({ hasEventIndex: true });
      const before = 3 + (isSecond ? SIZE : 0);
      for (let i = 0; i < before; i++) {
        offer(device, i);
        device.use(device.descriptor(i % SIZE).id);
        device.queue.take();
      }
      device.wish(2, slot as number, isSameRound !== isSecond);
      strictEqual(offer(device, 1, 2, 3), mustKick, `slot ${slot}, same round ${isSameRound}`);
    }
  }
});

Deno.test("PackedDriverVirtqueue.publish kicks always when descriptor events were not negotiated", () => {
  const device = new Device();
  device.wish(2, 4);
  strictEqual(offer(device, 1), true);
});

Deno.test("PackedDriverVirtqueue.take gives tokens back in the order in which chains were used", () => {
  const device = new Device();
  offer(device, 11, 22, 33);
  const ids = [0, 1, 2].map((slot) => device.descriptor(slot).id);
  strictEqual(device.queue.take(), null);
  strictEqual(device.queue.hasUsed, false);
  device.use(ids[2]!, 1, 60);
  device.use(ids[0]!, 1, 1514);
  strictEqual(device.queue.hasUsed, true);
  deepStrictEqual(device.queue.take(), { token: 33, length: 60 });
  deepStrictEqual(device.queue.take(), { token: 11, length: 1514 });
  strictEqual(device.queue.take(), null);
  strictEqual(device.queue.outstanding, 1);
});

Deno.test("PackedDriverVirtqueue.take skips as many descriptors as the chain had (2.8.4)", () => {
  const device = new Device();
  device.queue.add([readable, writable, writable], 1);
  device.queue.add([readable], 2);
  device.queue.publish();
  const ids = [2, 3].map((slot) => device.descriptor(slot).id);
  device.use(ids[0]!, 3, 5);
  device.use(ids[1]!);
  deepStrictEqual(device.queue.take(), { token: 1, length: 5 });
  strictEqual(device.queue.free, 4);
  deepStrictEqual(device.queue.take(), { token: 2, length: 0 });
  strictEqual(device.queue.free, SIZE);
});

Deno.test("PackedDriverVirtqueue.take does not believe a length without the write flag (2.8.8)", () => {
  const device = new Device();
  offer(device, 1);
  const { id } = device.descriptor(0);
  device.use(id);
  new DataView(device.bytes.buffer).setUint32(device.places.desc + 8, 77, true);
  deepStrictEqual(device.queue.take(), { token: 1, length: 0 });
});

Deno.test("PackedDriverVirtqueue.take throws when the device names an id outside of the ring", () => {
  for (const id of [SIZE, 0xffff]) {
    const device = new Device();
    offer(device, 1);
    device.use(id);
    const message = `Cannot take chain ${id}: it is not outstanding`;
    throws(() => device.queue.take(), new UsedRingError(message));
  }
});

Deno.test("PackedDriverVirtqueue.take throws when the device uses a chain twice", () => {
  const device = new Device();
  offer(device, 1, 2);
  const { id } = device.descriptor(0);
  device.use(id);
  device.use(id);
  strictEqual(device.queue.take()?.token, 1);
  throws(() => device.queue.take(), UsedRingError);
});

Deno.test("PackedDriverVirtqueue.take throws when nothing was offered", () => {
  const device = new Device();
  device.use(0);
  throws(() => device.queue.take(), UsedRingError);
});

Deno.test("PackedDriverVirtqueue.addIndirect takes one descriptor, whatever the chain's length (2.8.7)", () => {
  const memoryAddress = 0x1_0000_0000;
  const device = new Device({ memoryAddress });
  const buffers = [readable, ...new Array(8).fill(writable)];
  ok(device.queue.addIndirect(buffers, 5, device.spare));
  device.queue.publish();
  strictEqual(device.queue.free, SIZE - 1);
  const { addr, len, flags, id } = device.descriptor(0);
  const wanted = [BigInt(memoryAddress + device.spare), 144, INDIRECT | AVAIL];
  deepStrictEqual([addr, len, flags], wanted);
  const table = buffers.map((_, i) => device.descriptor(i, device.spare));
  deepStrictEqual(table.map((entry) => entry.flags), [0, ...new Array(8).fill(WRITE)]);
  device.use(id, 1, 3);
  deepStrictEqual(device.queue.take(), { token: 5, length: 3 });
  strictEqual(device.queue.free, SIZE);
});

Deno.test("PackedDriverVirtqueue.addIndirect refuses when no descriptor is free", () => {
  const device = new Device();
  offer(device, 1, 2, 3, 4, 5);
  strictEqual(device.queue.addIndirect([readable], 6, device.spare), false);
  strictEqual(device.bytes[device.spare], 0xee);
});

Deno.test("PackedDriverVirtqueue.disableCalls and enableCalls write the driver's wish (2.8.14)", () => {
  const device = new Device();
  device.queue.disableCalls();
  strictEqual(device.driverEvent.flags, 1);
  strictEqual(device.queue.enableCalls(), false);
  strictEqual(device.driverEvent.flags, 0);
});

Deno.test("PackedDriverVirtqueue.enableCalls names the next descriptor and its round (2.8.14)", () => {
  const device = new Device({ hasEventIndex: true });
  for (let i = 0; i < 2 * SIZE + 1; i++) {
    device.queue.enableCalls();
    const wrap = Math.trunc(i / SIZE) % 2 === 0 ? 0x8000 : 0;
    deepStrictEqual(device.driverEvent, { off_wrap: wrap | i % SIZE, flags: 2 });
    offer(device, i);
    device.use(device.descriptor(i % SIZE).id);
    device.queue.take();
  }
  device.queue.disableCalls();
  strictEqual(device.driverEvent.flags, 1);
});

Deno.test("PackedDriverVirtqueue.enableCalls says when a chain was used already", () => {
  for (const hasEventIndex of [false, true]) {
    const device = new Device({ hasEventIndex });
    offer(device, 1);
    strictEqual(device.queue.enableCalls(), false);
    device.use(device.descriptor(0).id);
    strictEqual(device.queue.enableCalls(), true);
  }
});

for (const size of [1, 2, 3, 255, 32768]) {
  Deno.test(`PackedDriverVirtqueue works with a ring of ${size} (2.8)`, () => {
    const device = new Device({ size });
    for (let i = 0; i < 2 * size + 3; i++) {
      offer(device, i);
      device.use(device.descriptor(i % size).id, 1, i);
      const used = device.queue.take();
      if (used?.token !== i || used.length !== i) throw new Error(`chain ${i} did not come back`);
    }
    const tokens = Array.from({ length: size }, (_, i) => i);
    offer(device, ...tokens);
    strictEqual(device.queue.add([readable], 0), false);
    strictEqual(device.queue.outstanding, size);
  });
}
