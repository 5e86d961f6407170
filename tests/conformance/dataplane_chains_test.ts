import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import {
  featureSet,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_MRG_RXBUF,
} from "../../src/virtio/features.ts";
import { VIRTQ_DESC, VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_WRITE } from "../../src/virtio/layouts.ts";
import { makeFrame, stationAddress } from "../support/frames.ts";
import { type GuestOptions, type SendOptions, SwitchSim } from "../support/guest_sim.ts";
import { linked, type RawDescriptor, writeTable } from "../support/raw_ring.ts";

const TO = stationAddress(2);
const FROM = stationAddress(1);
const INDIRECT = featureSet(VIRTIO_F_VERSION_1, VIRTIO_F_INDIRECT_DESC);

/** Headers of both lengths, with the features that ask for them. */
const HEADERS: readonly (readonly [number, bigint])[] = [
  [10, 0n],
  [12, featureSet(VIRTIO_F_VERSION_1)],
  [12, featureSet(VIRTIO_NET_F_MRG_RXBUF)],
];

async function carries(options: GuestOptions, send: SendOptions, length = 300): Promise<void> {
  const sim = await SwitchSim.create([options, {}]);
  const frame = makeFrame(TO, FROM, length);
  sim.guests[0]!.send(frame, send);
  sim.turn();
  deepStrictEqual(sim.guests[1]!.receive().map((received) => received.frame), [frame]);
  strictEqual(sim.guests[0]!.takeSent()[0]?.length, 0);
  strictEqual(sim.counters(0).receivedBytes, length);
}

for (const [headerBytes, features] of HEADERS) {
  const guest = { features };
  const suffix = `with a header of ${headerBytes} bytes and features ${features.toString(16)}`;

  Deno.test(`SwitchSim takes header and frame in one buffer ${suffix} (5.1.6.2)`, async () => {
    await carries(guest, {});
  });

  Deno.test(`SwitchSim takes a header alone in its buffer ${suffix} (2.7.4, G39)`, async () => {
    await carries(guest, { pieces: [headerBytes] });
  });

  for (const count of [2, 3, headerBytes]) {
    Deno.test(`SwitchSim takes a header in ${count} buffers ${suffix} (2.7.4, G38)`, async () => {
      const part = Math.trunc(headerBytes / count);
      const pieces = [...new Array(count - 1).fill(part), headerBytes - (count - 1) * part];
      await carries(guest, { pieces });
      await carries(guest, { pieces: pieces.slice(0, -1) });
    });
  }

  Deno.test(`SwitchSim gives a receiver a header ${suffix} (5.1.6.1, G82)`, async () => {
    const sim = await SwitchSim.create([{}, guest]);
    const frame = makeFrame(TO, FROM);
    sim.guests[0]!.send(frame);
    sim.turn();
    const [received] = sim.guests[1]!.receive();
    deepStrictEqual(received?.frame, frame);
    deepStrictEqual(received?.lengths, [headerBytes + frame.length]);
    // 5.1.6.4: num_buffers is 1; the rest says that there is nothing to offload.
    const numBuffers = headerBytes === 12 ? [1, 0] : [];
    deepStrictEqual([...received!.header], [...new Array(10).fill(0), ...numBuffers]);
  });
}

Deno.test("SwitchSim takes a chain of exactly as many descriptors as the ring has (2.7.5, G28)", async () => {
  await carries({ queueSize: 16 }, { pieces: new Array(15).fill(4) });
  await carries({ queueSize: 256 }, { pieces: new Array(255).fill(1) });
});

Deno.test("SwitchSim takes a chain of one descriptor on a ring of one entry (2.7.5)", async () => {
  await carries({ queueSize: 1 }, {});
});

Deno.test("SwitchSim ignores descriptor flags that it does not know (2.7.5, G44)", async () => {
  const sim = await SwitchSim.create([{}, {}]);
  const [sender, receiver] = sim.guests;
  const frame = makeFrame(TO, FROM);
  sender!.send(frame);
  const at = sender!.raw(1).places.desc + VIRTQ_DESC.offset.flags;
  new DataView(sender!.memory.memory.buffer).setUint16(at, 0xfff8, true);
  sim.turn();
  deepStrictEqual(receiver!.receive()[0]?.frame, frame);
});

Deno.test("SwitchSim ignores num_buffers of a frame that is sent (5.1.6.2.1, G80)", async () => {
  const header = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff);
  await carries({}, { header });
});

Deno.test("SwitchSim takes hdr_len as a hint only (5.1.6.2.2, G76)", async () => {
  const header = Uint8Array.of(0, 0, 0xff, 0xff);
  await carries({}, { header });
});

Deno.test("SwitchSim ignores csum_start and csum_offset without NEEDS_CSUM (5.1.6.2.2)", async () => {
  const header = Uint8Array.of(0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff);
  await carries({}, { header });
});

Deno.test("SwitchSim ignores header flags that it does not recognise (5.1.6.2.2)", async () => {
  await carries({}, { header: Uint8Array.of(0x80) });
});

for (const count of [1, 2, 3, 17, 256]) {
  Deno.test(`SwitchSim takes an indirect table of ${count} entries (2.7.5.3)`, async () => {
    const pieces = new Array(count - 1).fill(1);
    await carries({ features: INDIRECT }, { pieces, isIndirect: true });
  });
}

/** Sends direct descriptors that end in one with a table, all of them written by hand. */
async function sendMixed(
  direct: number,
  table: number,
  patch: Partial<RawDescriptor> = {},
): Promise<SwitchSim> {
  const sim = await SwitchSim.create([{ features: INDIRECT }, {}]);
  const [sender] = sim.guests;
  const bytes = new Uint8Array(12 + 60);
  bytes.set(makeFrame(TO, FROM), 12);
  const at = sender!.allocate(bytes.length);
  sender!.memory.write(at, bytes);
  const pieces = direct + table;
  const buffers = Array.from({ length: pieces }, (_, i) => ({
    addr: at + BigInt(i),
    len: i + 1 < pieces ? 1 : bytes.length - i,
  }));
  const tableAt = sender!.allocate(16 * table);
  const view = new DataView(sender!.memory.memory.buffer);
  writeTable(view, sender!.memory.localOf(tableAt), linked(buffers.slice(direct)));
  const pointer = { addr: tableAt, len: 16 * table, flags: VIRTQ_DESC_F_INDIRECT, ...patch };
  sender!.raw(1).describe(linked([...buffers.slice(0, direct), pointer]));
  sender!.raw(1).offer(0);
  sim.turn();
  return sim;
}

for (const [direct, table] of [[1, 1], [1, 3], [2, 2], [5, 2], [9, 1]] as const) {
  const name = `SwitchSim takes ${direct} direct descriptors followed by a table of ${table}`;
  Deno.test(`${name} (2.7.5.3.2)`, async () => {
    const sim = await sendMixed(direct, table);
    deepStrictEqual(sim.guests[1]!.receive()[0]?.frame, makeFrame(TO, FROM));
    strictEqual(sim.counters(0).drops["bad chain"], 0);
  });
}

Deno.test("SwitchSim ignores the write flag of the descriptor that points to a table (2.7.5.3.2, G54)", async () => {
  const flags = VIRTQ_DESC_F_INDIRECT | VIRTQ_DESC_F_WRITE;
  const sim = await sendMixed(0, 3, { flags });
  deepStrictEqual(sim.guests[1]!.receive()[0]?.frame, makeFrame(TO, FROM));
});

Deno.test("SwitchSim takes an indirect table at an odd address (G53)", async () => {
  const sim = await SwitchSim.create([{ features: INDIRECT }, {}]);
  const [sender] = sim.guests;
  const frame = makeFrame(TO, FROM);
  const bytes = new Uint8Array(12 + frame.length);
  bytes.set(frame, 12);
  const at = sender!.allocate(bytes.length);
  sender!.memory.write(at, bytes);
  const tableAt = sender!.allocate(64) + 3n;
  const descriptors = linked([{ addr: at, len: 20 }, { addr: at + 20n, len: bytes.length - 20 }]);
  const view = new DataView(sender!.memory.memory.buffer);
  writeTable(view, sender!.memory.localOf(tableAt), descriptors);
  sender!.raw(1).describe([{ addr: tableAt, len: 32, flags: VIRTQ_DESC_F_INDIRECT }]);
  sender!.raw(1).offer(0);
  sim.turn();
  deepStrictEqual(sim.guests[1]!.receive()[0]?.frame, frame);
});

Deno.test("SwitchSim fills receive buffers that an indirect table lists (2.7.5.3)", async () => {
  const sim = await SwitchSim.create([{}, { features: INDIRECT, buffers: 0 }]);
  const [sender, receiver] = sim.guests;
  const table = receiver!.memory.localOf(receiver!.allocate(48));
  const buffers = [12, 30, 100].map((length) => ({
    address: Number(receiver!.allocate(length)),
    length,
    isWritable: true,
  }));
  receiver!.pairs[0]!.receive.addIndirect(buffers, 0, table);
  receiver!.pairs[0]!.receive.publish();
  const frame = makeFrame(TO, FROM);
  sender!.send(frame);
  sim.turn();
  strictEqual(receiver!.pairs[0]!.receive.take()?.length, 12 + frame.length);
  const got = [1, 2].map((i) => receiver!.memory.read(BigInt(buffers[i]!.address), 30));
  deepStrictEqual(got, [frame.slice(0, 30), frame.slice(30)]);
  ok(receiver!.isCanaryAlive);
});
