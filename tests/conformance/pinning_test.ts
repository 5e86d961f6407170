/**
 * Poll Workers stay on the processors that the topology names, or the switch says that they cannot.
 *
 * @module
 */
import { ok, rejects, strictEqual } from "node:assert/strict";
import { join } from "node:path";
import { parseTopology } from "../../config/load.ts";
import { threadProcessors } from "../../ffi/affinity.ts";
import { WorkerRefused } from "../../src/control/poll_thread.ts";
import { Switch } from "../../src/control/switch.ts";
import { eventually } from "../support/eventually.ts";
import { countDescriptors } from "../support/leaks.ts";

/** A processor that Linux could have, but this machine has not. */
const ABSENT = 1023;

/** Runs `body` with a switch without guests; it is not open yet. */
async function withSwitch(threads: string, body: (lab: Switch) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "labswitch-test-" });
  const text = `version: 1
ports: { a: { type: vhost-user, socket: a.sock } }
threads: ${threads}
`;
  const machine = { parallelism: 1, processors: null };
  const raise = ({ message }: Error) => {
    throw new Error(message);
  };
  const lab = new Switch(parseTopology(text, join(folder, "lab.yaml"), machine), {
    onPortEvent: () => {},
    onWorkerEvent: ({ reason }) => raise(new Error(reason)),
    onFailure: raise,
  });
  try {
    await body(lab);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** How many threads of this process may run on one processor only. */
function pinnedThreads(processor: number): number {
  const tasks = [...Deno.readDirSync("/proc/self/task")];
  return tasks.filter(({ name }) => {
    try {
      const status = Deno.readTextFileSync(`/proc/self/task/${name}/status`);
      return /^Cpus_allowed_list:\s+(\S+)$/m.exec(status)?.[1] === `${processor}`;
    } catch {
      // It has ended meanwhile.
      return false;
    }
  }).length;
}

Deno.test({
  name: "Switch keeps a Worker on the processor that the topology names",
  // Where there is but one, every thread is on it.
  ignore: threadProcessors().length < 2,
  fn: async () => {
    const processor = threadProcessors().at(-1)!;
    strictEqual(pinnedThreads(processor), 0);
    await withSwitch(`{ pin: [${processor}] }`, async (lab) => {
      await lab.open();
      ok(pinnedThreads(processor) >= 1);
      await lab.close();
    });
    await eventually("the end of the thread", () => pinnedThreads(processor) === 0 || null);
  },
});

Deno.test("Switch says which processor a Worker cannot run on, and leaves nothing behind", async () => {
  const before = countDescriptors();
  for (const threads of [`{ pin: [${ABSENT}] }`, `{ workers: 2, pin: [0, ${ABSENT}] }`]) {
    await withSwitch(threads, async (lab) => {
      await rejects(lab.open(), (error: unknown) => {
        const reason = `Cannot run a thread on processor ${ABSENT}: EINVAL`;
        return error instanceof WorkerRefused && error.message.includes(reason);
      });
    });
  }
  await eventually("closed descriptors", () => countDescriptors() === before || null);
});
