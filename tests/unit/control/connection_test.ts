import { deepStrictEqual, strictEqual } from "node:assert/strict";
import type { Fd } from "../../../ffi/fd.ts";
import { ForeignDescriptors } from "../../../ffi/foreign.ts";
import { receive, send, unixSocketPair, WOULD_BLOCK } from "../../../ffi/unix_socket.ts";
import { Connection } from "../../../src/control/connection.ts";
import { Reactor } from "../../../src/control/reactor.ts";
import type { Reply, VhostUserBackend } from "../../../src/vhost_user/backend.ts";
import { RequestRefused } from "../../../src/vhost_user/errors.ts";
import { encode, type Message, MessageDecoder } from "../../../src/vhost_user/message.ts";
import { eventually, nextTurn } from "../../support/eventually.ts";
import { countDescriptors } from "../../support/leaks.ts";
import { NOTHING } from "../../support/vhost_messages.ts";

/** Turns of the event loop in which something that must not happen would have happened. */
const QUIET_TURNS = 50;

/** A back-end whose answers a test gives one by one. */
class SlowBackend {
  /** The requests that came, oldest first. */
  readonly requests: number[] = [];
  /** How often it was closed. */
  closed = 0;
  /** The answers that are due. */
  readonly answers: PromiseWithResolvers<Reply>[] = [];
  /** Requests below this number are answered at once, with themselves. */
  readonly #slowFrom: number;

  constructor(slowFrom: number) {
    this.#slowFrom = slowFrom;
  }

  handle({ request }: Message): Reply | Promise<Reply> {
    this.requests.push(request);
    if (request < this.#slowFrom) return encode(request, 0, NOTHING);
    const answer = Promise.withResolvers<Reply>();
    this.answers.push(answer);
    return answer.promise;
  }

  close(): void {
    this.closed++;
  }
}

/** A connection, the other end of its socket, and how it ended. */
class Trial implements AsyncDisposable {
  readonly backend: SlowBackend;
  readonly peer: Fd;
  readonly ends: (Error | null)[] = [];
  readonly connection: Connection;
  readonly #reactor = new Reactor();
  readonly #foreign = new ForeignDescriptors();
  readonly #decoder = new MessageDecoder();

  constructor(slowFrom = 0) {
    const [socket, peer] = unixSocketPair();
    this.peer = peer;
    this.backend = new SlowBackend(slowFrom);
    this.#reactor.start();
    this.connection = new Connection({
      socket,
      foreign: this.#foreign,
      backend: this.backend as unknown as VhostUserBackend,
      reactor: this.#reactor,
      onEnd: (reason) => this.ends.push(reason),
    });
  }

  /** Sends requests in one write. */
  say(...requests: readonly number[]): void {
    const data = requests.flatMap((request) => [...encode(request, 0, NOTHING)]);
    strictEqual(send(this.peer, Uint8Array.from(data)), data.length);
  }

  /** Waits until so many requests have come. */
  async arrived(count: number): Promise<void> {
    await eventually(`${count} requests`, () => this.backend.requests.length >= count || null);
  }

  /** Waits for a reply; returns its request. */
  async reply(): Promise<number> {
    const message = await eventually("a reply", () => {
      const length = receive(this.peer, this.#decoder.target(), []);
      return length === WOULD_BLOCK ? null : this.#decoder.received(length, []);
    });
    return message.request;
  }

  /** Waits until the connection has ended; returns why. */
  async end(): Promise<Error | null> {
    await eventually("the end", () => this.ends.length > 0 || null);
    strictEqual(this.ends.length, 1);
    return this.ends[0]!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.connection.close();
    strictEqual(this.backend.closed, 1);
    await this.#reactor.stop();
    this.peer.close();
  }
}

function testConnection(
  name: string,
  body: (trial: Trial) => Promise<void>,
  slowFrom?: number,
): void {
  Deno.test(name, async () => {
    const before = countDescriptors();
    {
      await using trial = new Trial(slowFrom);
      await body(trial);
    }
    strictEqual(countDescriptors(), before);
  });
}

async function quietTurns(): Promise<void> {
  for (let i = 0; i < QUIET_TURNS; i++) await nextTurn();
}

testConnection(
  "Connection reads nothing while an answer is worked out, and keeps the order",
  async (trial) => {
    trial.say(1, 2, 3);
    await trial.arrived(1);
    await quietTurns();
    deepStrictEqual(trial.backend.requests, [1]);
    for (const request of [1, 2, 3]) {
      await trial.arrived(request);
      trial.backend.answers[request - 1]!.resolve(encode(request, 0, NOTHING));
      strictEqual(await trial.reply(), request);
    }
    deepStrictEqual(trial.backend.requests, [1, 2, 3]);
  },
);

testConnection("Connection goes on after an answer that is none", async (trial) => {
  trial.say(10);
  await trial.arrived(1);
  trial.backend.answers[0]!.resolve(null);
  trial.say(1);
  strictEqual(await trial.reply(), 1);
}, 10);

testConnection("Connection answers what came before a slow request at once", async (trial) => {
  trial.say(1, 2, 10, 3);
  strictEqual(await trial.reply(), 1);
  strictEqual(await trial.reply(), 2);
  await trial.arrived(3);
  trial.backend.answers[0]!.resolve(encode(10, 0, NOTHING));
  strictEqual(await trial.reply(), 10);
  strictEqual(await trial.reply(), 3);
}, 10);

testConnection(
  "Connection ends when its peer leaves while an answer is worked out (F47, F48)",
  async (trial) => {
    trial.say(1, 2);
    await trial.arrived(1);
    trial.peer.close();
    strictEqual(await trial.end(), null);
    strictEqual(trial.backend.closed, 1);
    // The answer comes too late for anybody.
    trial.backend.answers[0]!.resolve(encode(1, 0, NOTHING));
    await quietTurns();
    deepStrictEqual(trial.backend.requests, [1]);
    strictEqual(trial.ends.length, 1);
  },
);

testConnection(
  "Connection ends once when its peer leaves and the answer fails (F47, F48)",
  async (trial) => {
    trial.say(1);
    await trial.arrived(1);
    trial.peer.close();
    strictEqual(await trial.end(), null);
    trial.backend.answers[0]!.reject(new RequestRefused("too late"));
    await quietTurns();
    strictEqual(trial.ends.length, 1);
  },
);

testConnection("Connection ends when an answer fails, and says why", async (trial) => {
  trial.say(1);
  await trial.arrived(1);
  trial.backend.answers[0]!.reject(new Error("no memory"));
  strictEqual((await trial.end())?.message, "no memory");
});

testConnection("Connection can be closed while an answer is worked out", async (trial) => {
  trial.say(1);
  await trial.arrived(1);
  trial.connection.close(new Error("enough"));
  trial.backend.answers[0]!.resolve(encode(1, 0, NOTHING));
  await quietTurns();
  strictEqual((await trial.end())?.message, "enough");
  strictEqual(receive(trial.peer, new Uint8Array(1), []), 0);
});
