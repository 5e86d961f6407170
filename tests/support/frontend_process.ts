/**
 * A front-end in a process of its own, which a test can kill: its guest sends frames to a station as
 * fast as it can.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { ConsoleProcess } from "./console_process.ts";
import { nextTurn } from "./eventually.ts";
import { numbered } from "./steady_flow.ts";
import { TestGuest } from "./test_guest.ts";

const ATTACHED = "attached";
const START_TIMEOUT_MS = 30_000;
/** Frames between two turns of the event loop. */
const BURST = 64;

/**
 * Starts one and waits until its frames flow.
 *
 * @param path The port's socket.
 * @param source The station that the guest is.
 * @param destination The station that it sends to.
 */
export async function startFrontend(
  path: string,
  source: number,
  destination: number,
): Promise<ConsoleProcess> {
  const process = new ConsoleProcess(Deno.execPath(), [
    ...["run", "--allow-all", fileURLToPath(import.meta.url)],
    ...[path, `${source}`, `${destination}`],
  ]);
  try {
    const isAttached = (output: string) => output.includes(ATTACHED) || undefined;
    await process.awaitOutput("a front-end", isAttached, START_TIMEOUT_MS);
    return process;
  } catch (error) {
    await process.stop();
    throw error;
  }
}

async function flood(path: string, source: number, destination: number): Promise<never> {
  const guest = await TestGuest.attach(path);
  const frame = numbered(destination, source, 0);
  guest.send(frame);
  console.log(ATTACHED);
  for (;;) {
    for (let i = 0; i < BURST; i++) guest.send(frame);
    await nextTurn();
  }
}

if (import.meta.main) {
  const [path, source, destination] = Deno.args;
  await flood(path!, Number(source), Number(destination));
}
