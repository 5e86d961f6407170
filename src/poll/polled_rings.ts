/**
 * The rings of a Worker's list, quiet ones apart.
 *
 * A look at a ring costs a few cache misses, whether it finds something or not. Many quiet ports
 * must not slow a few busy ones down, so a ring that has long been empty while others were busy is
 * set apart: its guest is asked for kicks, and the ring is left alone until one comes.
 *
 * Belongs to the thread of the poll loop. Does not allocate.
 *
 * @module
 */
import type { RingInstance } from "../dataplane/dataplane.ts";

/** A ring of the list, with its port's instance at hand. */
export interface PolledRing {
  /** The ring's number. */
  readonly ring: number;
  /** Its port. */
  readonly port: number;
  /** Its queue pair. */
  readonly pair: number;
  /** Its port's instance. */
  readonly code: RingInstance;
  /** Where it stands among the rings. */
  position: number;
  /** Looks in a row that found nothing while others were busy. */
  emptyLooks: number;
}

/**
 * Looks in a row that find nothing, after which a ring counts as quiet. At two microseconds a turn
 * this is some ten milliseconds: a port that sends more often than that is never asked for kicks.
 */
const QUIET_AFTER_LOOKS = 4096;

/** The rings of a list: lively ones first, quiet ones behind them. */
export class PolledRings {
  readonly #rings: PolledRing[];
  readonly #byNumber: ReadonlyMap<number, PolledRing>;
  #lively: number;
  #next = 0;

  /** @param rings The rings; `position` is their index. All of them are lively. */
  constructor(rings: readonly PolledRing[]) {
    this.#rings = [...rings];
    this.#byNumber = new Map(rings.map((polled) => [polled.ring, polled]));
    this.#lively = rings.length;
  }

  /** How many there are. */
  get length(): number {
    return this.#rings.length;
  }

  /** How many of them, from the first on, are lively. */
  get lively(): number {
    return this.#lively;
  }

  /** The ring at a position. */
  at(position: number): PolledRing {
    return this.#rings[position]!;
  }

  /** The quiet ring with a number, or undefined. */
  quiet(ring: number): PolledRing | undefined {
    const polled = this.#byNumber.get(ring);
    return polled !== undefined && polled.position >= this.#lively ? polled : undefined;
  }

  /** One quiet ring after the other; there must be one. */
  nextQuiet(): PolledRing {
    return this.at(this.#lively + this.#next++ % (this.#rings.length - this.#lively));
  }

  /** Notes that a lively ring was empty while others were busy; in the end it becomes quiet. */
  noteEmpty(polled: PolledRing): void {
    if (++polled.emptyLooks < QUIET_AFTER_LOOKS) return;
    polled.emptyLooks = 0;
    // The guest may have looked for the wish just before it was there (VIRTIO 1.2, 2.7.10).
    if (polled.code.arm(polled.ring) !== 0) polled.code.disarm(polled.ring);
    else this.#swap(polled, --this.#lively);
  }

  /** Makes a quiet ring lively. */
  enliven(polled: PolledRing): void {
    polled.code.disarm(polled.ring);
    this.#swap(polled, this.#lively++);
  }

  /** Asks all guests for kicks; returns whether a ring has chains already. */
  arm(): boolean {
    let hasChains = false;
    for (const { code, ring } of this.#rings) {
      if (code.arm(ring) !== 0) hasChains = true;
    }
    return hasChains;
  }

  /** Asks the guests of lively rings not to kick. */
  disarm(): void {
    for (let i = 0; i < this.#lively; i++) this.at(i).code.disarm(this.at(i).ring);
  }

  #swap(polled: PolledRing, position: number): void {
    const other = this.at(position);
    this.#rings[polled.position] = other;
    this.#rings[position] = polled;
    other.position = polled.position;
    polled.position = position;
  }
}
