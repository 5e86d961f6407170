/**
 * `labswitch qemu-args`: the arguments that connect a QEMU guest to a port.
 *
 * Three mistakes keep most guests off a vhost-user switch: memory that is not shared, a queue count
 * that does not match, a reconnect option that this QEMU does not have. So the arguments are made for
 * the port and for the QEMU that is installed.
 *
 * @module
 */
import type { VhostUserConfig } from "../../config/topology.ts";

/** What a QEMU can do, as far as the arguments differ. */
export interface QemuVersion {
  /** Major version. */
  readonly major: number;
  /** Minor version. */
  readonly minor: number;
}

/** The oldest QEMU whose arguments we know to work; assumed when none is found. */
export const OLDEST_QEMU: QemuVersion = { major: 7, minor: 2 };

/** QEMU before this crashes without KVM when a vhost-user device with a control queue uses MSI-X. */
const TCG_VECTORS_SINCE: QemuVersion = { major: 10, minor: 0 };
/** `-chardev socket,reconnect-ms=` took the place of `reconnect=` in this version. */
const RECONNECT_MS_SINCE: QemuVersion = { major: 9, minor: 2 };
/** Interrupt vectors of a multiqueue device: one per ring, configuration and control queue. */
const EXTRA_VECTORS = 2;

/**
 * Makes the arguments.
 *
 * @param port The port.
 * @param memoryMebibytes The guest's memory.
 * @param version The QEMU that will get them.
 * @param isEmulated Whether the guest runs without KVM.
 * @returns Options with their values, in the order in which QEMU reads them.
 */
export function qemuArguments(
  port: VhostUserConfig,
  memoryMebibytes: number,
  version: QemuVersion = OLDEST_QEMU,
  isEmulated = false,
): string[] {
  const { socket, role, queues, mac } = port;
  const memory = `memory-backend-memfd,id=labswitch-memory,size=${memoryMebibytes}M,share=on`;
  const side = role === "client" ? ",server=on,wait=off" : `,${reconnectOption(version)}`;
  const device = ["virtio-net-pci", "netdev=labswitch-net", `mac=${mac}`];
  if (queues > 1) device.push("mq=on");
  if (isEmulated && !isSince(version, TCG_VECTORS_SINCE)) device.push("vectors=0");
  else if (queues > 1) device.push(`vectors=${2 * queues + EXTRA_VECTORS}`);
  return [
    ...["-m", `${memoryMebibytes}M`],
    ...["-object", memory],
    ...["-machine", "q35,memory-backend=labswitch-memory"],
    ...["-chardev", `socket,id=labswitch-socket,path=${escapeCommas(socket)}${side}`],
    ...["-netdev", `vhost-user,id=labswitch-net,chardev=labswitch-socket,queues=${queues}`],
    ...["-device", device.join(",")],
  ];
}

/**
 * Reads what `qemu-system-… --version` prints.
 *
 * @param text Its output.
 * @returns The version, or null when the text is something else.
 */
export function parseQemuVersion(text: string): QemuVersion | null {
  const [, major, minor] = /version (\d+)\.(\d+)/.exec(text) ?? [];
  return major === undefined ? null : { major: Number(major), minor: Number(minor) };
}

/** Asks the installed QEMU for its version; null when there is none. */
export async function installedQemu(): Promise<QemuVersion | null> {
  const program = `qemu-system-${Deno.build.arch}`;
  try {
    const { stdout } = await new Deno.Command(program, { args: ["--version"], stderr: "null" })
      .output();
    return parseQemuVersion(new TextDecoder().decode(stdout));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

/**
 * Writes arguments for a shell, an option and its value per line.
 *
 * @param args From {@linkcode qemuArguments}.
 * @param isForPerson Whether lines end with a backslash, to be copied into a command; a shell's
 * `$(…)` must get them without.
 */
export function shellLines(args: readonly string[], isForPerson: boolean): string {
  const lines: string[] = [];
  for (let i = 0; i < args.length; i += 2) lines.push(`${args[i]} ${quote(args[i + 1]!)}`);
  return `${lines.join(isForPerson ? " \\\n" : "\n")}\n`;
}

function reconnectOption(version: QemuVersion): string {
  return isSince(version, RECONNECT_MS_SINCE) ? "reconnect-ms=1000" : "reconnect=1";
}

function isSince({ major, minor }: QemuVersion, first: QemuVersion): boolean {
  return major > first.major || (major === first.major && minor >= first.minor);
}

// QEMU ends a value at a comma; two stand for one.
function escapeCommas(text: string): string {
  return text.replaceAll(",", ",,");
}

/** Whether a shell's `$(…)` would take an argument apart: it does not look at quotes. */
export function needsQuotes(text: string): boolean {
  return !/^[\w@%+=:,./-]+$/.test(text);
}

function quote(text: string): string {
  return !needsQuotes(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
