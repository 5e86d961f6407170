/**
 * Boot firmware instead of a kernel: iPXE has a virtio-net driver of its own, with small rings and a
 * way of its own to set them up.
 *
 * @module
 */
import { qemuArguments } from "../../src/cli/qemu_args.ts";
import { ConsoleProcess, findProgram } from "../support/console_process.ts";
import { Guest, missingForGuests } from "../support/guest/guest.ts";
import { installedQemu } from "../support/guest/qemu.ts";
import { Labswitch } from "../support/labswitch.ts";
import { testWith } from "../support/test_with.ts";

/** The firmware as a kernel, which saves the way through a BIOS. */
const FIRMWARE = "/usr/lib/ipxe/ipxe.lkrn";
const TOPOLOGY = `version: 1
ports:
  server: { type: vhost-user, socket: server.sock }
  client: { type: vhost-user, socket: client.sock }
`;
const MEMORY_MEBIBYTES = 128;
const BOOT_TIMEOUT_MS = 30_000;
/** What the firmware fetches and then does. */
const SCRIPT = ["#!ipxe", "echo booted over the network", "poweroff"];

function missing(): string | undefined {
  return missingForGuests() ?? (findProgram(FIRMWARE) === undefined ? "ipxe" : undefined);
}

testWith(missing, "Boot firmware gets an address and a file from another guest", async () => {
  const folder = await Deno.makeTempDir({ prefix: "labswitch-boot-" });
  try {
    await using lab = await Labswitch.start({ folder, topology: TOPOLOGY });
    const port = lab.port("server");
    await using server = await Guest.start({ folder, port, address: "10.0.0.1/24" });
    const lines = SCRIPT.map((line) => `echo '${line}' >>/tmp/boot.ipxe`);
    await server.must(lines.join("; "));
    await server.must(
      "dnsmasq --user=root --port=0 --dhcp-range=10.0.0.50,10.0.0.60 --dhcp-leasefile=/tmp/leases " +
        "--pid-file=/tmp/pid --conf-file=/dev/null --enable-tftp --tftp-root=/tmp " +
        "--dhcp-boot=boot.ipxe",
    );
    const { program, options, version } = (await installedQemu())!;
    const args = qemuArguments(lab.port("client"), MEMORY_MEBIBYTES, version, true);
    args[args.indexOf("-device") + 1] += ",romfile=";
    args[args.indexOf("-machine") + 1] += ",graphics=off";
    await using firmware = new ConsoleProcess(program, [
      ...options,
      ...args,
      ...["-accel", "tcg", "-nodefaults", "-no-user-config", "-display", "none"],
      ...["-serial", "stdio", "-kernel", FIRMWARE],
    ]);
    const isBooted = (output: string) => output.includes("booted over the network") || undefined;
    await firmware.awaitOutput("the script of the other guest", isBooted, BOOT_TIMEOUT_MS);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
