/**
 * A front-end has its guest announced (VHOST_USER_SEND_RARP): every other port gets a broadcast that
 * comes from the guest's address, and the switch knows where that address is. Port `a` of a running
 * switch announces; `b` and `c` look on.
 *
 * @module
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { EventFd } from "../../ffi/eventfd.ts";
import { Request } from "../../src/vhost_user/numbers.ts";
import { ARP, isEthernetIpv4, REVERSE_ARP_REQUEST } from "../../src/ethernet/arp.ts";
import {
  ETHERNET,
  ETHERTYPE_RARP,
  formatMac,
  MIN_FRAME_BYTES,
  parseMac,
} from "../../src/ethernet/frame.ts";
import { BROADCAST, makeFrame, stationAddress } from "../support/frames.ts";
import type { RawClient } from "../support/raw_client.ts";
import { TestGuest } from "../support/test_guest.ts";
import { testAttack, type TestLab } from "../support/test_lab.ts";

/** The guest that is announced, and one that watches. */
const MOVED = stationAddress(7);
const WATCHER = stationAddress(8);
/** More than a burst and more than the receivers' rings together. */
const MANY = 200;

/** Guests on two ports that see what the third one does. */
class Watchers implements AsyncDisposable {
  readonly b: TestGuest;
  readonly c: TestGuest;

  private constructor(b: TestGuest, c: TestGuest) {
    this.b = b;
    this.c = c;
  }

  static async attach(lab: TestLab): Promise<Watchers> {
    const b = await TestGuest.attach(lab.path("b"));
    return new Watchers(b, await TestGuest.attach(lab.path("c")));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.c[Symbol.asyncDispose]();
    await this.b[Symbol.asyncDispose]();
  }
}

async function connect(lab: TestLab): Promise<RawClient> {
  return await (await lab.connect("a")).negotiateAll();
}

async function announce(client: RawClient, address: string): Promise<void> {
  const payload = new Uint8Array(8);
  payload.set(parseMac(address));
  strictEqual(await client.ask(Request.SEND_RARP, payload), 0n);
}

/** Whose announcement a frame is; fails when it is none. */
function announcedBy(frame: Uint8Array): string {
  strictEqual(frame.length, MIN_FRAME_BYTES);
  const view = new DataView(frame.buffer, frame.byteOffset);
  const { destination, source, type } = ETHERNET.read(view);
  deepStrictEqual([formatMac(destination), type], [BROADCAST, ETHERTYPE_RARP]);
  const packet = ARP.read(view, ETHERNET.size);
  ok(isEthernetIpv4(packet));
  strictEqual(packet.operation, REVERSE_ARP_REQUEST);
  deepStrictEqual([packet.senderMac, packet.targetMac], [source, source]);
  ok(frame.subarray(ETHERNET.size + ARP.size).every((byte) => byte === 0));
  return formatMac(source);
}

testAttack("Switch announces a guest to every other port (VHOST_USER_SEND_RARP)", async (lab) => {
  await using guests = await Watchers.attach(lab);
  using client = await connect(lab);
  await announce(client, MOVED);
  for (const guest of [guests.b, guests.c]) strictEqual(announcedBy(await guest.receive()), MOVED);
  const { flooded, learned } = lab.report("a").counters;
  deepStrictEqual([flooded, learned], [1, 1]);
});

testAttack(
  "Switch sends frames for an announced guest to its new port only (VHOST_USER_SEND_RARP)",
  async (lab) => {
    await using guests = await Watchers.attach(lab);
    await using destination = await TestGuest.attach(lab.path("a"));
    const { b, c } = guests;
    // The guest was behind `b` until now.
    const hello = makeFrame(BROADCAST, MOVED);
    b.send(hello);
    for (const guest of [c, destination]) deepStrictEqual(await guest.receive(), hello);
    const before = makeFrame(MOVED, WATCHER, 60, 1);
    c.send(before);
    deepStrictEqual(await b.receive(), before);

    await announce(await destination.client.negotiateAll(), MOVED);
    for (const guest of [b, c]) strictEqual(announcedBy(await guest.receive()), MOVED);
    strictEqual(lab.report("a").counters.moved, 1);
    const after = makeFrame(MOVED, WATCHER, 60, 2);
    c.send(after);
    deepStrictEqual(await destination.receive(), after);
    // It went nowhere else: the next that `b` gets is this one.
    const next = makeFrame(BROADCAST, WATCHER, 60, 3);
    c.send(next);
    deepStrictEqual(await b.receive(), next);
  },
);

testAttack("Switch announces no group and no zero address (F88)", async (lab) => {
  await using guests = await Watchers.attach(lab);
  using client = await connect(lab);
  for (const nobody of [BROADCAST, "01:80:c2:00:00:00", "03:00:00:00:00:01", "00:00:00:00:00:00"]) {
    await announce(client, nobody);
  }
  await announce(client, MOVED);
  for (const guest of [guests.b, guests.c]) strictEqual(announcedBy(await guest.receive()), MOVED);
  deepStrictEqual(lab.report("a").counters.receivedFrames, 1);
});

testAttack(
  "Switch calls a guest that sleeps when it announces another (VHOST_USER_SEND_RARP)",
  async (lab) => {
    using call = EventFd.create();
    await using guest = await TestGuest.attach(lab.path("b"), call.fd);
    using client = await connect(lab);
    // Each start of a ring signals once.
    call.drain();
    await announce(client, MOVED);
    ok(call.drain() > 0n);
    strictEqual(announcedBy(await guest.receive()), MOVED);
  },
);

testAttack(
  "Switch announces a guest although nobody is there to hear it (VHOST_USER_SEND_RARP)",
  async (lab) => {
    using client = await connect(lab);
    await announce(client, MOVED);
    strictEqual(lab.report("a").counters.learned, 1);
  },
);

testAttack("Switch drops announcements that find no buffer, and counts them (F88)", async (lab) => {
  await using guests = await Watchers.attach(lab);
  using client = await connect(lab);
  for (let i = 0; i < MANY; i++) await announce(client, MOVED);
  const { transmittedFrames, drops } = lab.report("b").counters;
  strictEqual(transmittedFrames + drops["no buffer"], MANY);
  for (let i = 0; i < transmittedFrames; i++) announcedBy(await guests.b.receive());
});

testAttack(
  "Switch announces a guest into rings that its Workers fill at the same time (VHOST_USER_SEND_RARP)",
  async (lab) => {
    await using guests = await Watchers.attach(lab);
    using client = await connect(lab);
    let isAnnouncing = true;
    const announcements = async () => {
      for (let i = 0; i < MANY; i++) await announce(client, MOVED);
      isAnnouncing = false;
    };
    let heard = 0;
    const frames = async () => {
      for (let i = 0; isAnnouncing; i++) {
        const sent = makeFrame(BROADCAST, WATCHER, 60 + i % 1000, i);
        guests.c.send(sent);
        for (;;) {
          const frame = await guests.b.receive();
          if (frame[13] === sent[13]) {
            deepStrictEqual(frame, sent);
            break;
          }
          strictEqual(announcedBy(frame), MOVED);
          heard++;
        }
      }
    };
    await Promise.all([announcements(), frames()]);
    ok(heard > 0 && heard <= MANY, `${heard} announcements were heard`);
  },
  { threads: "{ poll: busy }" },
);
