/**
 * Two front-ends in this process that account for every frame and every buffer.
 *
 * @module
 */
import { join } from "node:path";
import type { Role } from "../../../config/topology.ts";
import { LastingGuest } from "../../support/lasting_guest.ts";
import type { Load, LoadKind, Losses } from "./load.ts";

/** How the front-ends are made. */
export interface LastingLoadOptions {
  /** Who listens: `server` is the switch. */
  readonly role: Role;
  /** Packed instead of split rings. */
  readonly isPacked: boolean;
}

const PORTS = ["vm1", "vm2"];

/**
 * Makes a kind of load.
 *
 * @param options The front-ends.
 */
export function lastingLoad({ role, isPacked }: LastingLoadOptions): LoadKind {
  const ports = PORTS.map((name) =>
    `  ${name}: { type: vhost-user, socket: ${name}.sock, role: ${role} }\n`
  );
  return {
    name: `front-ends of our own, ${isPacked ? "packed" : "split"} rings, switch as ${role}`,
    topology: `version: 1\nports:\n${ports.join("")}`,
    bearsEarlyKills: true,
    missing: () => undefined,
    start: async (_lab, folder) => {
      const guest = (number: number) => ({
        path: join(folder, `${PORTS[number - 1]}.sock`),
        isListening: role === "client",
        isPacked,
        number,
        peer: 3 - number,
      });
      const load = new LastingLoad(LastingGuest.pair([guest(1), guest(2)]));
      try {
        await load.awaitRound();
        return load;
      } catch (error) {
        await load[Symbol.asyncDispose]();
        throw error;
      }
    },
  };
}

class LastingLoad implements Load {
  readonly slack = 0;
  readonly #guests: readonly LastingGuest[];

  constructor(guests: readonly LastingGuest[]) {
    this.#guests = guests;
  }

  async awaitRound(): Promise<void> {
    await Promise.all(this.#guests.map((guest) => guest.awaitRound()));
  }

  received(): Promise<number> {
    for (const guest of this.#guests) guest.check();
    return Promise.resolve(this.#guests.reduce((sum, { receiver }) => sum + receiver.received, 0));
  }

  queues(): Promise<ReadonlyMap<string, number>> {
    return Promise.resolve(
      new Map(this.#guests.flatMap(({ receiver, sender }, i) => [
        [`${PORTS[i]} receive`, receiver.received],
        [`${PORTS[i]} transmit`, sender.completed],
      ])),
    );
  }

  losses(): Promise<Losses> {
    return Promise.resolve({ guests: 0, connections: 0 });
  }

  // Each buffer must go round once more, and each frame come back.
  async finish(): Promise<void> {
    await this.awaitRound();
    await Promise.all(this.#guests.map((guest) => guest.stopSending()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const guest of this.#guests) await guest[Symbol.asyncDispose]();
  }
}
