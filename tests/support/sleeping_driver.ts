/**
 * A driver in a thread of its own that asks for a call just about when its chain is used, and then
 * sleeps until the call comes: the switch's look at that wish falls before it or behind it.
 *
 * It finds the moment by itself: whenever its wish came too late it asks sooner the next time, else
 * later.
 *
 * @module
 */
import { keepThreadOn } from "../../ffi/affinity.ts";
import { Epoll, EPOLLET, EPOLLIN } from "../../ffi/epoll.ts";
import { EventFd } from "../../ffi/eventfd.ts";
import { DriverVirtqueue } from "../../src/virtio/driver_virtqueue.ts";
import type { RingPlaces } from "../../src/virtio/layouts.ts";
import { PackedDriverVirtqueue } from "../../src/virtio/packed_driver_virtqueue.ts";

/** What the Worker is told. */
export interface SleepingDriverRole {
  /** The guest's memory. */
  readonly memory: WebAssembly.Memory;
  /** Guest address of the memory's first byte. */
  readonly memoryAddress: number;
  /** Where its transmit ring lies. */
  readonly places: RingPlaces;
  /** Entries. */
  readonly size: number;
  /** Whether the ring is packed. */
  readonly isPacked: boolean;
  /** Whether calls are asked for by index. */
  readonly hasEventIndex: boolean;
  /** Guest address of what it sends, header included. */
  readonly address: number;
  /** Bytes of that. */
  readonly length: number;
  /** How many chains it sends, one at a time. */
  readonly rounds: number;
  /** How long it sends at most. */
  readonly patienceMs: number;
  /** The processor to stay on; null for any. */
  readonly processor: number | null;
}

/** What the Worker posts. */
export type SleepingDriverReport =
  /** Its ring is ready; the number of the eventfd to call it with. */
  | { readonly kind: "ready"; readonly callFd: number }
  /** It is over. */
  | { readonly kind: "over"; readonly wakeUps: WakeUps };

/** How a driver fared. */
export interface WakeUps {
  /** Chains that were used when it asked, so that it did not sleep. */
  readonly found: number;
  /** Chains for which it slept, and was woken. */
  readonly slept: number;
  /** Whether the next chain was used without the call that it waited for; then it gave up. */
  readonly isLost: boolean;
}

/** A call comes within microseconds, on a very busy machine within milliseconds. */
const PATIENCE_MS = 5000;
/** Only one wish in so many is to be early enough for a sleep, which takes far longer than the rest. */
const WISHES_PER_SLEEP = 8;
const ROUNDS_PER_CLOCK = 64;
/** The moment to ask is varied by so many looks at a word. */
const SPREAD = 8;

/** The part of the Worker's global scope that is used here. */
interface Scope {
  onmessage: ((event: MessageEvent<SleepingDriverRole | null>) => void) | null;
  postMessage(report: SleepingDriverReport): void;
}

const scope = globalThis as unknown as Scope;

scope.onmessage = ({ data: role }) => {
  const { processor, memory, isPacked } = role!;
  if (processor !== null) keepThreadOn([processor]);
  const Virtqueue = isPacked ? PackedDriverVirtqueue : DriverVirtqueue;
  const queue = new Virtqueue({ ...role!, memory: memory.buffer });
  const call = EventFd.create();
  scope.onmessage = () => {
    scope.postMessage({ kind: "over", wakeUps: play(role!, queue, call) });
    call.close();
  };
  scope.postMessage({ kind: "ready", callFd: call.fd.number });
};

function play(
  { address, length, rounds, patienceMs, memory }: SleepingDriverRole,
  queue: DriverVirtqueue | PackedDriverVirtqueue,
  call: EventFd,
): WakeUps {
  const chain = [{ address, length, isWritable: false }];
  const word = new Uint16Array(memory.buffer, 0, 1);
  const result = { found: 0, slept: 0, isLost: false };
  using epoll = Epoll.create();
  // Each write to the eventfd is one event, whether or not anybody reads it.
  epoll.add(call.fd.number, EPOLLIN | EPOLLET, 0);
  queue.disableCalls();
  let delay = 0;
  const end = performance.now() + patienceMs;
  for (let round = 0; round < rounds; round++) {
    if (round % ROUNDS_PER_CLOCK === 0 && performance.now() > end) break;
    queue.add(chain, 0);
    queue.publish();
    for (let i = delay + round % SPREAD; i > 0; i--) Atomics.load(word, 0);
    if (queue.enableCalls()) {
      result.found++;
      delay = Math.max(0, delay - 1);
    } else {
      if (!sleep(queue, epoll)) return { ...result, isLost: true };
      result.slept++;
      delay += WISHES_PER_SLEEP - 1;
    }
    queue.take();
    queue.disableCalls();
  }
  return result;
}

// Returns whether a call came. One for an earlier chain may come late and wake for nothing.
function sleep(queue: DriverVirtqueue | PackedDriverVirtqueue, epoll: Epoll): boolean {
  for (;;) {
    const isCalled = epoll.wait(PATIENCE_MS) > 0;
    if (queue.hasUsed) return isCalled;
    if (!isCalled) throw new Error("The switch uses nothing");
  }
}
