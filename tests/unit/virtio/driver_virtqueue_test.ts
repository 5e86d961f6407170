/**
 * The queue's other end here is a device of a few lines, written from the specification.
 *
 * @module
 */
import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import {
  type Buffer,
  DriverVirtqueue,
  type DriverVirtqueueOptions,
  UsedRingError,
} from "../../../src/virtio/driver_virtqueue.ts";
import { placeRing, VIRTQ_DESC } from "../../../src/virtio/layouts.ts";

/** Size of the ring unless a test says otherwise. */
const SIZE = 4;

/** What a device does with a ring, no more than these tests need. */
class Device {
  readonly queue: DriverVirtqueue;
  readonly #memory: ArrayBuffer;
  readonly #view: DataView;
  readonly #options: DriverVirtqueueOptions;

  constructor(more: Partial<DriverVirtqueueOptions> = {}) {
    const size = more.size ?? SIZE;
    const places = placeRing(64, size);
    this.#memory = new ArrayBuffer(places.end + 1024);
    new Uint8Array(this.#memory).fill(0xee);
    this.#options = { memory: this.#memory, size, places, hasEventIndex: false, ...more };
    this.#view = new DataView(this.#memory);
    this.queue = new DriverVirtqueue(this.#options);
  }

  get #places() {
    return this.#options.places;
  }

  get bytes(): Uint8Array {
    return new Uint8Array(this.#memory);
  }

  /** First byte behind the ring. */
  get spare(): number {
    return this.#places.end + (16 - this.#places.end % 16);
  }

  descriptor(index: number, table: number = this.#places.desc) {
    return VIRTQ_DESC.read(this.#view, table + index * 16);
  }

  get availFlags(): number {
    return this.#view.getUint16(this.#places.avail, true);
  }

  get availIndex(): number {
    return this.#view.getUint16(this.#places.avail + 2, true);
  }

  /** The head in slot `index` of the available ring. */
  head(index: number): number {
    return this.#view.getUint16(this.#places.avail + 4 + index % this.#options.size * 2, true);
  }

  get usedEvent(): number {
    return this.#view.getUint16(this.#places.avail + 4 + this.#options.size * 2, true);
  }

  set availEvent(index: number) {
    this.#view.setUint16(this.#places.used + 4 + this.#options.size * 8, index, true);
  }

  set usedFlags(flags: number) {
    this.#view.setUint16(this.#places.used, flags, true);
  }

  /** Writes the next used element and publishes it. */
  use(head: number, length = 0): void {
    const index = this.#view.getUint16(this.#places.used + 2, true);
    const at = this.#places.used + 4 + index % this.#options.size * 8;
    this.#view.setUint32(at, head, true);
    this.#view.setUint32(at + 4, length, true);
    this.#view.setUint16(this.#places.used + 2, index + 1, true);
  }
}

const readable: Buffer = { address: 0x1000, length: 12, isWritable: false };
const writable: Buffer = { address: 0x2000, length: 1514, isWritable: true };

/** Adds and publishes chains of one buffer with the tokens given. */
function offer(device: Device, ...tokens: number[]): boolean {
  for (const token of tokens) ok(device.queue.add([readable], token));
  return device.queue.publish();
}

Deno.test("DriverVirtqueue clears its ring and nothing around it", () => {
  const { bytes, spare } = new Device();
  strictEqual(bytes[63], 0xee);
  ok(bytes.subarray(64, spare - 16).every((byte) => byte === 0));
  strictEqual(bytes[spare], 0xee);
});

Deno.test("DriverVirtqueue.add chains buffers with NEXT and marks those the device writes", () => {
  const device = new Device();
  ok(device.queue.add([readable, writable], 7));
  device.queue.publish();
  const head = device.head(0);
  const first = device.descriptor(head);
  deepStrictEqual([first.addr, first.len, first.flags], [0x1000n, 12, 1]);
  const last = device.descriptor(first.next);
  deepStrictEqual([last.addr, last.len, last.flags], [0x2000n, 1514, 2]);
  ok(first.next !== head);
});

Deno.test("DriverVirtqueue.add writes addresses above 4 GiB", () => {
  const device = new Device();
  device.queue.add([{ ...readable, address: 0x12_3456_7890 }], 0);
  device.queue.publish();
  strictEqual(device.descriptor(device.head(0)).addr, 0x12_3456_7890n);
});

Deno.test("DriverVirtqueue.add refuses a chain that does not fit, and takes nothing for it", () => {
  const device = new Device();
  ok(device.queue.add([readable, writable, writable], 1));
  strictEqual(device.queue.add([readable, writable], 2), false);
  strictEqual(device.queue.free, 1);
  strictEqual(device.queue.outstanding, 1);
  ok(device.queue.add([readable], 3));
  strictEqual(device.queue.add([readable], 4), false);
});

Deno.test("DriverVirtqueue.add refuses a chain without buffers", () => {
  const device = new Device();
  strictEqual(device.queue.add([], 1), false);
  strictEqual(device.queue.outstanding, 0);
});

Deno.test("DriverVirtqueue.publish makes all added chains visible at once, in order", () => {
  const device = new Device();
  device.queue.add([readable], 1);
  device.queue.add([writable], 2);
  strictEqual(device.availIndex, 0);
  device.queue.publish();
  strictEqual(device.availIndex, 2);
  strictEqual(device.descriptor(device.head(0)).flags, 0);
  strictEqual(device.descriptor(device.head(1)).flags, 2);
});

Deno.test("DriverVirtqueue.publish asks for no kick when there is nothing new", () => {
  const device = new Device();
  strictEqual(device.queue.publish(), false);
  strictEqual(offer(device, 1), true);
  strictEqual(device.queue.publish(), false);
});

Deno.test("DriverVirtqueue.publish asks for no kick when the device does not want any", () => {
  const device = new Device();
  device.usedFlags = 1;
  strictEqual(offer(device, 1), false);
  device.usedFlags = 0;
  strictEqual(offer(device, 2), true);
});

Deno.test("DriverVirtqueue.publish asks for a kick when it passes the event index", () => {
  // Before: 0, after: 2. The event is passed when it is 0 or 1 (VIRTIO 1.2, 2.7.10).
  for (const [event, mustKick] of [[0, true], [1, true], [2, false], [0xffff, false]] as const) {
    const device = new Device({ hasEventIndex: true });
    device.availEvent = event;
    strictEqual(offer(device, 1, 2), mustKick, `event ${event}`);
  }
});

Deno.test("DriverVirtqueue.publish does not look at the flags with an event index", () => {
  const device = new Device({ hasEventIndex: true });
  device.usedFlags = 1;
  strictEqual(offer(device, 1), true);
});

Deno.test("DriverVirtqueue.take gives tokens back in the order in which chains were used", () => {
  const device = new Device();
  offer(device, 11, 22, 33);
  strictEqual(device.queue.take(), null);
  device.use(device.head(2), 60);
  device.use(device.head(0), 1514);
  strictEqual(device.queue.hasUsed, true);
  deepStrictEqual(device.queue.take(), { token: 33, length: 60 });
  deepStrictEqual(device.queue.take(), { token: 11, length: 1514 });
  strictEqual(device.queue.take(), null);
  strictEqual(device.queue.hasUsed, false);
  strictEqual(device.queue.outstanding, 1);
});

Deno.test("DriverVirtqueue.take frees every descriptor of the chain", () => {
  const device = new Device();
  device.queue.add([readable, writable, writable], 1);
  device.queue.publish();
  strictEqual(device.queue.free, 1);
  device.use(device.head(0));
  device.queue.take();
  strictEqual(device.queue.free, SIZE);
  ok(device.queue.add([readable, writable, writable, writable], 2));
});

Deno.test("DriverVirtqueue.take throws when the device names a head outside of the ring", () => {
  for (const head of [SIZE, 0xffff, 0xffffffff]) {
    const device = new Device();
    offer(device, 1);
    device.use(head);
    const message = `Cannot take chain ${head}: it is not outstanding`;
    throws(() => device.queue.take(), new UsedRingError(message));
  }
});

Deno.test("DriverVirtqueue.take throws when the device uses a chain twice", () => {
  const device = new Device();
  offer(device, 1, 2);
  device.use(device.head(0));
  device.use(device.head(0));
  strictEqual(device.queue.take()?.token, 1);
  throws(() => device.queue.take(), UsedRingError);
});

Deno.test("DriverVirtqueue.take throws when the device names the middle of a chain", () => {
  const device = new Device();
  device.queue.add([readable, writable], 1);
  device.queue.publish();
  device.use(device.descriptor(device.head(0)).next);
  throws(() => device.queue.take(), UsedRingError);
});

Deno.test("DriverVirtqueue.take throws when nothing was offered", () => {
  const device = new Device();
  device.use(0);
  throws(() => device.queue.take(), UsedRingError);
});

Deno.test("DriverVirtqueue goes on after its indexes wrap at 65536", () => {
  const device = new Device({ hasEventIndex: true });
  for (let i = 0; i < 65_538; i++) {
    device.availEvent = i & 0xffff;
    if (!offer(device, i)) throw new Error(`no kick for chain ${i}`);
    device.use(device.head(i), i);
    const used = device.queue.take();
    if (used?.token !== i || used.length !== i) throw new Error(`chain ${i} did not come back`);
  }
  strictEqual(device.queue.take(), null);
  strictEqual(device.queue.hasUsed, false);
  strictEqual(device.availIndex, 2);
  strictEqual(device.queue.outstanding, 0);
  strictEqual(device.queue.free, SIZE);
});

Deno.test("DriverVirtqueue.publish decides rightly about events on both sides of the wrap", () => {
  const cases = [[65_533, false], [65_534, true], [65_535, true], [0, true], [1, false]] as const;
  for (const [event, mustKick] of cases) {
    const device = new Device({ hasEventIndex: true });
    for (let i = 0; i < 65_534; i++) {
      offer(device, i);
      device.use(device.head(i));
      device.queue.take();
    }
    device.availEvent = event;
    strictEqual(offer(device, 1, 2, 3), mustKick, `event ${event}`);
    strictEqual(device.queue.outstanding, 3);
  }
});

Deno.test("DriverVirtqueue.addIndirect takes one descriptor, whatever the chain's length", () => {
  const memoryAddress = 0x1_0000_0000;
  const device = new Device({ memoryAddress });
  const buffers = [readable, writable, writable, writable, writable];
  ok(device.queue.addIndirect(buffers, 5, device.spare));
  device.queue.publish();
  strictEqual(device.queue.free, SIZE - 1);
  const { addr, len, flags } = device.descriptor(device.head(0));
  deepStrictEqual([addr, len, flags], [BigInt(memoryAddress + device.spare), 80, 4]);
  const table = buffers.map((_, i) => device.descriptor(i, device.spare));
  deepStrictEqual(table.map((entry) => entry.flags), [1, 3, 3, 3, 2]);
  deepStrictEqual(table.map((entry) => entry.next).slice(0, 4), [1, 2, 3, 4]);
  deepStrictEqual(table.map((entry) => entry.len), [12, 1514, 1514, 1514, 1514]);
});

Deno.test("DriverVirtqueue.addIndirect gives its token and descriptor back", () => {
  const device = new Device();
  device.queue.addIndirect([readable, writable], 5, device.spare);
  device.queue.publish();
  device.use(device.head(0), 3);
  deepStrictEqual(device.queue.take(), { token: 5, length: 3 });
  strictEqual(device.queue.free, SIZE);
});

Deno.test("DriverVirtqueue.addIndirect refuses when no descriptor is free", () => {
  const device = new Device();
  offer(device, 1, 2, 3, 4);
  strictEqual(device.queue.addIndirect([readable], 5, device.spare), false);
  strictEqual(device.bytes[device.spare], 0xee);
});

Deno.test("DriverVirtqueue.disableCalls sets the flag and enableCalls clears it", () => {
  const device = new Device();
  device.queue.disableCalls();
  strictEqual(device.availFlags, 1);
  strictEqual(device.queue.enableCalls(), false);
  strictEqual(device.availFlags, 0);
});

Deno.test("DriverVirtqueue.enableCalls asks for the next chain by the event index", () => {
  const device = new Device({ hasEventIndex: true });
  device.queue.disableCalls();
  strictEqual(device.usedEvent, 0xffff);
  strictEqual(device.availFlags, 0);
  offer(device, 1);
  device.use(device.head(0));
  device.queue.take();
  device.queue.enableCalls();
  strictEqual(device.usedEvent, 1);
  device.queue.disableCalls();
  strictEqual(device.usedEvent, 0);
});

Deno.test("DriverVirtqueue.enableCalls says when a chain was used already", () => {
  for (const hasEventIndex of [false, true]) {
    const device = new Device({ hasEventIndex });
    offer(device, 1);
    strictEqual(device.queue.enableCalls(), false);
    device.use(device.head(0));
    strictEqual(device.queue.enableCalls(), true);
  }
});

Deno.test("DriverVirtqueue works with a ring of one entry", () => {
  const device = new Device({ size: 1 });
  for (let i = 0; i < 3; i++) {
    offer(device, i);
    strictEqual(device.queue.add([readable], 99), false);
    device.use(device.head(i));
    strictEqual(device.queue.take()?.token, i);
  }
});
