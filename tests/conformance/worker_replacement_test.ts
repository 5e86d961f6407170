/**
 * A poll Worker dies in the middle of traffic: another thread takes its place, its ports go on, those
 * of the other Worker lose nothing.
 *
 * It dies for real: an address in the record of one of its rings lies outside of every memory, so
 * that the data plane traps where it uses it.
 *
 * @module
 */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { ringAt, ringNumber } from "../../src/dataplane/state.ts";
import { RING_DESC, RING_LOCK, RING_USED } from "../../src/dataplane/state_layout.ts";
import { eventually } from "../support/eventually.ts";
import { makeFrame, stationAddress } from "../support/frames.ts";
import { countDescriptors, countMappings } from "../support/leaks.ts";
import { TestGuest } from "../support/test_guest.ts";
import { TestLab } from "../support/test_lab.ts";

/** Worker 0 polls the first and the third of them, Worker 1 the others. */
const PORTS = ["a", "b", "c", "d"] as const;
const THREADS = "{ workers: 2 }";
/** More than any guest's memory; aligned as the strictest part of a ring. */
const NOWHERE = 1n << 40n;
const MEMFD = "labswitch-test-guest";
const FRAME_BYTES = 200;
/** Where a frame holds its number: behind its Ethernet header. */
const NUMBER = 14;
/** Frames of a flow before and after the death. */
const FRAMES = 200;

/** Where the death comes from: a part of a ring of port `a`, which sends, or `c`, which receives. */
interface Cause {
  readonly what: string;
  readonly port: number;
  readonly index: number;
  readonly place: number;
  /** Whether the frame has arrived before the Worker dies, so that it arrives twice. */
  readonly isRepeated: boolean;
}

const CAUSES: readonly Cause[] = [
  { what: "taking a chain", port: 0, index: 1, place: RING_DESC, isRepeated: false },
  { what: "giving a chain back", port: 0, index: 1, place: RING_USED, isRepeated: true },
  { what: "reserving a buffer", port: 2, index: 0, place: RING_DESC, isRepeated: false },
  { what: "publishing a buffer", port: 2, index: 0, place: RING_USED, isRepeated: false },
];

for (const cause of CAUSES) {
  Deno.test(`Switch replaces a Worker that dies when ${cause.what}, and all ports go on (X09)`, async () => {
    await using lab = await TestLab.open({ ports: PORTS, threads: THREADS });
    const descriptors = countDescriptors();
    let mappings = 0;
    {
      await using guests = await Guests.attach(lab);
      mappings = countMappings(Deno.pid, MEMFD);
      await playAround(lab, guests, cause);
    }
    for (const port of PORTS) await lab.idle(port);
    await eventually("closed descriptors", () => countDescriptors() === descriptors || null);
    // A guest has mapped its memory as well, until its object is collected.
    ok(countMappings(Deno.pid, MEMFD) <= mappings - PORTS.length);
  });
}

/** Frames from `a` to `c` and from `b` to `d`, with the death of Worker 0 in between. */
async function playAround(lab: TestLab, guests: Guests, cause: Cause): Promise<void> {
  const { a, b, c, d } = guests;
  let isOver = false;
  const undisturbed = exchange(new Flow(b, d, 2, 4), () => isOver);
  const disturbed = new Flow(a, c, 1, 3);
  for (let i = 0; i < FRAMES; i++) await disturbed.pass();
  // The Worker may look at the ring before the next frame comes: it dies there as well.
  lab.state.set64(ringAt(ringNumber(cause.port, cause.index)) + cause.place, NOWHERE);
  for (let i = 0; i < FRAMES; i++) await disturbed.pass();
  const [event, ...others] = await eventually(
    "the replacement",
    () => lab.workerEvents.length > 0 ? lab.takeWorkerEvents() : null,
  );
  strictEqual(event?.kind, "worker-replaced");
  deepStrictEqual([event.worker, others], [0, []]);
  match(event!.reason, /out of bounds/);
  isOver = true;
  const { sent, repeated } = await undisturbed;
  ok(sent >= 2, `only ${sent} frames passed beside it`);
  strictEqual(repeated, 0);
  ok(disturbed.repeated <= (cause.isRepeated ? 1 : 0), `${disturbed.repeated} frames came twice`);
  // The other Worker fills the queue that was locked.
  const across = new Flow(b, c, 2, 3);
  for (let i = 0; i < FRAMES; i++) await across.pass();
  strictEqual(lab.state.get32(ringAt(ringNumber(2, 0)) + RING_LOCK), 0);
  for (const port of PORTS) deepStrictEqual(dropped(lab, port), []);
}

Deno.test("Switch gives up a Worker that dies again and again, and can be closed (X09)", async () => {
  const failed = Promise.withResolvers<Error>();
  await using lab = await TestLab.open({
    ports: PORTS,
    threads: THREADS,
    onFailure: failed.resolve,
  });
  await using guests = await Guests.attach(lab);
  const at = ringAt(ringNumber(0, 1)) + RING_DESC;
  const flow = new Flow(guests.a, guests.c, 1, 3);
  for (let death = 1; death <= 5; death++) {
    lab.state.set64(at, NOWHERE);
    await flow.pass();
    await eventually("the replacement", () => lab.takeWorkerEvents()[0] ?? null);
  }
  lab.state.set64(at, NOWHERE);
  guests.a.send(numbered(3, 1, 0));
  match((await failed.promise).message, /^Poll Worker 0 failed: .*out of bounds/);
  // The other one still does its work.
  const beside = new Flow(guests.b, guests.d, 2, 4);
  for (let i = 0; i < FRAMES; i++) await beside.pass();
});

/** Guests on all ports, whose addresses are known to the switch. */
class Guests implements AsyncDisposable {
  private constructor(
    readonly a: TestGuest,
    readonly b: TestGuest,
    readonly c: TestGuest,
    readonly d: TestGuest,
    readonly stack: AsyncDisposableStack,
  ) {}

  static async attach(lab: TestLab): Promise<Guests> {
    await using stack = new AsyncDisposableStack();
    const attached: TestGuest[] = [];
    for (const port of PORTS) {
      await lab.idle(port);
      attached.push(stack.use(await TestGuest.attach(lab.path(port))));
    }
    for (const [i, guest] of attached.entries()) await introduce(guest, i + 1, attached);
    const [a, b, c, d] = attached;
    return new Guests(a!, b!, c!, d!, stack.move());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stack.disposeAsync();
  }
}

/** A frame to an unknown address goes to everybody, and tells where its sender is. */
async function introduce(
  guest: TestGuest,
  station: number,
  all: readonly TestGuest[],
): Promise<void> {
  guest.send(numbered(99, station, 0));
  for (const other of all) if (other !== guest) await other.receive();
}

/** Numbered frames from one guest to another, one after the other. */
class Flow {
  /** Frames sent, each of which arrived. */
  sent = 0;
  /** Frames that arrived once more. */
  repeated = 0;
  readonly #from: TestGuest;
  readonly #to: TestGuest;
  readonly #source: number;
  readonly #destination: number;

  constructor(from: TestGuest, to: TestGuest, source: number, destination: number) {
    [this.#from, this.#to, this.#source, this.#destination] = [from, to, source, destination];
  }

  /** Sends the next frame and waits until it is there. */
  async pass(): Promise<void> {
    const frame = numbered(this.#destination, this.#source, this.sent);
    this.#from.send(frame);
    for (;;) {
      const received = await this.#to.receive();
      if (numberOf(received) === this.sent) {
        deepStrictEqual(received, frame);
        break;
      }
      strictEqual(numberOf(received), this.sent - 1);
      this.repeated++;
    }
    this.sent++;
  }
}

async function exchange(flow: Flow, isOver: () => boolean): Promise<Flow> {
  while (!isOver()) await flow.pass();
  return flow;
}

function numbered(destination: number, source: number, number: number): Uint8Array {
  const [to, from] = [stationAddress(destination), stationAddress(source)];
  const frame = makeFrame(to, from, FRAME_BYTES, number);
  new DataView(frame.buffer).setUint32(NUMBER, number);
  return frame;
}

function numberOf(frame: Uint8Array): number {
  return new DataView(frame.buffer, frame.byteOffset).getUint32(NUMBER);
}

function dropped(lab: TestLab, port: string): string[] {
  return Object.entries(lab.report(port).counters.drops)
    .filter(([, count]) => count > 0)
    .map(([reason, count]) => `${port}: ${count} ${reason}`);
}
