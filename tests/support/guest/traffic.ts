/**
 * Traffic between guests.
 *
 * @module
 */
import { strictEqual } from "node:assert/strict";
import type { Guest } from "./guest.ts";

/** How long a command that moves or sums megabytes may take in an emulated guest. */
const SLOW_MS = 120_000;

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
