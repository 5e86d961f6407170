/**
 * The loop of the thread that all hosts of a switch live on: it looks at the hosts that frames come
 * for, and sleeps when none come. A silent host costs nothing.
 *
 * @module
 */
import { Epoll, EPOLLET, EPOLLIN } from "../../ffi/epoll.ts";
import type { FrameHandler } from "./nic.ts";
import type { Station } from "./station.ts";

/** What the loop needs of a network interface. */
export interface LoopNic {
  /** Readable when a frame comes, while armed. */
  readonly callFd: number;
  /** Hands out what was received; returns how many frames there were. */
  poll(handler: FrameHandler): number;
  /** Puts a frame into the transmit queue. */
  send(frame: Uint8Array): boolean;
  /** Sends what is in the transmit queue. */
  flush(): void;
  /** Asks for a call; returns whether a frame is there already. */
  arm(): boolean;
  /** Says that no call is needed. */
  disarm(): void;
}

/** A host: what it is, and how it is connected. */
export interface LoopHost {
  /** Its interface. */
  readonly nic: LoopNic;
  /** What answers. */
  readonly station: Pick<Station, "answer">;
}

/** Empty looks at a host before it is left alone: about 50 µs, in which an answer may be answered. */
const SPINS = 200;
/** Turns between two looks for hosts that frames came for, while others are busy with a few frames. */
const TURNS_PER_LOOK = 32;
/** Frames between two looks: a flooded host has as many in a turn, 2 ms of work. */
const FRAMES_PER_LOOK = 256;
/** How long one sleep may take; only bounds the cost of a lost wake-up. */
const WAIT_MS = 10_000;
/** The token of the doorbell; hosts have their place in the list. */
const DOORBELL = 0xffff_ffff;

/** Looks after hosts. */
export class HostLoop {
  readonly #hosts: readonly LoopHost[];
  readonly #isStopped: () => boolean;
  readonly #now: () => number;
  readonly #epoll: Epoll;
  readonly #handlers: readonly FrameHandler[];
  /** Empty looks at each host that is looked at. */
  readonly #busy = new Map<number, number>();
  /** Frames since the last look. */
  #frames = 0;
  /** Seconds, as of this turn. */
  #time = 0;

  /**
   * @param hosts The hosts; they stay the caller's.
   * @param epoll An empty set; stays the caller's.
   * @param stop The descriptor that wakes the loop, and whether it shall end.
   * @param now Seconds of a clock that does not go back.
   */
  constructor(
    hosts: readonly LoopHost[],
    epoll: Epoll,
    stop: { readonly doorbellFd: number; readonly isStopped: () => boolean },
    now: () => number = () => performance.now() / 1000,
  ) {
    this.#hosts = hosts;
    this.#epoll = epoll;
    this.#isStopped = stop.isStopped;
    this.#now = now;
    this.#handlers = hosts.map((host) => (frame) => this.#answer(host, frame));
    epoll.add(stop.doorbellFd, EPOLLIN | EPOLLET, DOORBELL);
    hosts.forEach(({ nic }, i) => {
      epoll.add(nic.callFd, EPOLLIN | EPOLLET, i);
      this.#busy.set(i, 0);
    });
  }

  /** Runs until it is told to stop. */
  run(): void {
    for (let turn = 0; !this.#isStopped(); turn++) {
      if (this.#busy.size === 0) this.#look(WAIT_MS);
      else if (turn % TURNS_PER_LOOK === 0) this.#look(0);
      this.#time = this.#now();
      for (const number of this.#busy.keys()) this.#serve(number);
    }
  }

  #answer({ nic, station }: LoopHost, frame: Uint8Array): void {
    const answer = station.answer(frame, this.#time);
    // An answer that finds no room is lost, as on any wire.
    if (answer !== null) nic.send(answer);
  }

  #serve(number: number): void {
    const { nic } = this.#hosts[number]!;
    const frames = nic.poll(this.#handlers[number]!);
    if (frames > 0) {
      nic.flush();
      this.#busy.set(number, 0);
      this.#frames += frames;
      if (this.#frames >= FRAMES_PER_LOOK) this.#look(0);
      return;
    }
    const empty = this.#busy.get(number)! + 1;
    if (empty < SPINS || nic.arm()) this.#busy.set(number, empty);
    else this.#busy.delete(number);
  }

  // Who is found has its turn after those that are busy already.
  #look(timeoutMs: number): void {
    this.#frames = 0;
    const ready = this.#epoll.wait(timeoutMs);
    for (let i = 0; i < ready; i++) {
      const number = this.#epoll.token(i);
      if (number === DOORBELL || this.#busy.has(number)) continue;
      this.#hosts[number]!.nic.disarm();
      this.#busy.set(number, 0);
    }
  }
}
