/**
 * Traffic between guests.
 *
 * @module
 */
import { strictEqual } from "node:assert/strict";
import type { Guest } from "./guest.ts";

/** How long a command that moves or sums megabytes may take in an emulated guest. */
const SLOW_MS = 120_000;
/** What an endless stream repeats: not a multiple of a page, so that pages do not repeat. */
const BLOCK_BYTES = 3_000_017;
/** So much more of a stream shows that it flows. */
const FLOW_BYTES = 10_000_000;
const STREAM_PORT = 9000;
/** Between two looks of a guest, in microseconds. */
const LOOK_US = 10_000;

/**
 * Runs TCP for some time.
 *
 * @param client The guest that begins.
 * @param server Address of a guest in which `iperf3 --server` runs.
 * @param seconds How long.
 * @param direction `--reverse` lets the server send.
 * @returns Megabits per second that the receiving side counted.
 */
export async function iperf(
  client: Guest,
  server: string,
  seconds: number,
  direction: string,
): Promise<number> {
  const command = `iperf3 --client ${server} --time ${seconds} --json ${direction}`;
  const text = await client.must(command, (seconds + 20) * 1000);
  return JSON.parse(text).end.sum_received.bits_per_second / 1e6;
}

/** Copies a random file from one guest to another and compares the sums of both. */
export async function transferFile(from: Guest, to: Guest, mebibytes: number): Promise<void> {
  await from.must(`dd if=/dev/urandom of=/tmp/file bs=1M count=${mebibytes} 2>/dev/null`, SLOW_MS);
  const sum = await from.must("sha256sum </tmp/file", SLOW_MS);
  await from.must("httpd -p 8000 -h /tmp");
  await to.must(`wget -q -O /tmp/copy http://${from.ip}:8000/file`, SLOW_MS);
  strictEqual(await to.must("sha256sum </tmp/copy", SLOW_MS), sum);
  await from.must("killall httpd; rm /tmp/file");
  await to.must("rm /tmp/copy");
}

/** Random bytes over one TCP connection, as fast as the receiver can sum them up, without an end. */
export class Stream {
  readonly #sender: Guest;

  private constructor(sender: Guest) {
    this.#sender = sender;
  }

  /**
   * Begins to send.
   *
   * @param sender Sends.
   * @param receiver Receives. It may be another object later, when it has moved.
   */
  static async begin(sender: Guest, receiver: Guest): Promise<Stream> {
    const port = STREAM_PORT;
    // It would hang up at the end of its input, and a pipe that it also writes has none.
    const listener = `nc -l -p ${port} <>/tmp/silence`;
    await receiver.must(`mkfifo /tmp/silence; ${listener} | md5sum >/tmp/received 2>/dev/null &`);
    await receiver.must(`until netstat -lnt | grep -q :${port}; do usleep ${LOOK_US}; done`);
    const block = `if=/dev/urandom of=/tmp/block bs=${BLOCK_BYTES} count=1`;
    await sender.must(`dd ${block} 2>/dev/null && mkfifo /tmp/copy`);
    await sender.must("md5sum </tmp/copy >/tmp/sent &");
    const endless = "while [ ! -e /tmp/enough ]; do cat /tmp/block; done";
    const pipe = `${endless} | tee /tmp/copy | nc ${receiver.ip} ${port}`;
    await sender.must(`(${pipe}) >/dev/null 2>&1 &`);
    return new Stream(sender);
  }

  /** Waits until the receiver has got a good deal more. */
  async flow(receiver: Guest): Promise<void> {
    const count = "$(cat /sys/class/net/eth0/statistics/rx_bytes)";
    const isEnough = `[ ${count} -gt $((begin + ${FLOW_BYTES})) ]`;
    await receiver.must(`begin=${count}; until ${isEnough}; do usleep ${LOOK_US}; done`, SLOW_MS);
  }

  /** Ends it, and compares what was sent with what was received. */
  async end(receiver: Guest): Promise<void> {
    await this.#sender.must("touch /tmp/enough; wait; rm /tmp/enough /tmp/copy", SLOW_MS);
    await receiver.must("wait", SLOW_MS);
    const sent = await this.#sender.must("cat /tmp/sent");
    strictEqual(await receiver.must("cat /tmp/received"), sent);
  }
}
