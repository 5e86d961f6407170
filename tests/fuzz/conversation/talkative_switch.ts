/**
 * A switch that prints every kind of event, each once: the command leaves out what a port prints too
 * often, and with it the one line among thousands that tells of a fault of ours.
 *
 *     deno run -A tests/fuzz/conversation/talkative_switch.ts run TOPOLOGY.yaml
 *
 * @module
 */
import { parseTopology } from "../../../config/load.ts";
import { eventLine, workerLine } from "../../../src/cli/event_lines.ts";
import { Switch } from "../../../src/control/switch.ts";
import { kindOf } from "./log_watch.ts";

if (import.meta.main) {
  const file = Deno.args[1]!;
  const seen = new Set<string>();
  const print = (line: string): void => {
    const [port, ...what] = line.split("  ");
    const kind = kindOf(what.join("  "));
    if (seen.has(kind)) return;
    seen.add(kind);
    console.log(`${new Date().toISOString()} ${port}  ${what.join("  ")}`);
  };
  const lab = new Switch(parseTopology(await Deno.readTextFile(file), file), {
    onPortEvent: (event) => print(eventLine(event)),
    onWorkerEvent: (event) => print(workerLine(event)),
    onFailure: (error) => {
      throw error;
    },
  });
  await lab.open();
  console.log("ready");
  await Promise.race([untilTerminated(), untilAbandoned()]);
  await lab.close();
  Deno.exit(0);
}

function untilTerminated(): Promise<void> {
  return new Promise((resolve) => Deno.addSignalListener("SIGTERM", resolve));
}

// Whoever started it holds the other end of its input, and has gone when that is closed.
async function untilAbandoned(): Promise<void> {
  for await (const _ of Deno.stdin.readable) continue;
}
