/**
 * `deno task guest`: a small Linux guest on a port of a running switch, in this terminal.
 *
 * The guest is made of the Debian packages that the tests use: kernel, busybox and iperf3.
 *
 * @module
 */
import { Command } from "commander";
import { loadTopology } from "../../../config/load.ts";
import { guestPorts } from "../../../config/topology.ts";
import { missingForGuests, qemuCommand } from "./guest.ts";

const program = new Command("guest")
  .description("Boot a small Linux guest on a port of a running switch; poweroff -f ends it.")
  .argument("<port>", "name of a port in the topology")
  .requiredOption("-f, --file <topology>", "YAML file")
  .requiredOption("-a, --address <address>", "the guest's address, like 10.0.0.1/24, or dhcp")
  .action(async (name: string, { file, address }: { file: string; address: string }) => {
    const missing = missingForGuests();
    if (missing !== undefined) return program.error(`${missing} is not installed`);
    const port = guestPorts(await loadTopology(file)).find((one) => one.name === name);
    if (port === undefined) return program.error(`there is no guest port "${name}" in ${file}`);
    Deno.exitCode = await boot({ port, address });
  });

async function boot(options: Pick<Parameters<typeof qemuCommand>[0], "port" | "address">) {
  const folder = await Deno.makeTempDir({ prefix: "labswitch-guest-" });
  try {
    const { program, args } = await qemuCommand({ folder, isInteractive: true, ...options });
    const child = new Deno.Command(program, { args }).spawn();
    // The guest's files must go, and the guest with whoever started it.
    for (const signal of ["SIGTERM", "SIGHUP"] as const) {
      Deno.addSignalListener(signal, () => child.kill("SIGTERM"));
    }
    return (await child.status).code;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

await program.parseAsync(Deno.args, { from: "user" });
