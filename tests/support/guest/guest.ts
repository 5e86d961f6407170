/**
 * A real guest: QEMU with a Debian kernel, driven through its serial console.
 *
 * @module
 */
import { join } from "node:path";
import process from "node:process";
import type { VhostUserConfig } from "../../../config/topology.ts";
import { qemuArguments, type QemuVersion } from "../../../src/cli/qemu_args.ts";
import { ConsoleProcess, findProgram } from "../console_process.ts";
import { buildGuestSystem, type GuestSystem, installedKernel } from "./initramfs.ts";
import { installedQemu, type Qemu } from "./qemu.ts";
import { Qmp } from "./qmp.ts";

/** Chooses the accelerator: `kvm` where the machine can, `tcg` anywhere. */
const ACCELERATOR = process.env["LABSWITCH_TEST_ACCEL"] ?? "tcg";
const MEMORY_MEBIBYTES = 256;
/** Room for memory that is plugged in later. */
const MEMORY_SLOTS = ",slots=2,maxmem=1G";
const BOOT_TIMEOUT_MS = 60_000;
const COMMAND_TIMEOUT_MS = 30_000;
/** A booted guest says this once per boot. */
const READY = "@@ ready";

let system: Promise<GuestSystem> | null = null;

/** Says what is missing to start guests here; `undefined` if nothing is. */
export function missingForGuests(): string | undefined {
  if (installedKernel() === undefined) return "a cloud kernel";
  const programs = [
    `qemu-system-${Deno.build.arch}`,
    "/bin/busybox",
    "iperf3",
    "ethtool",
    "dnsmasq",
    "ldd",
  ];
  return programs.find((name) => findProgram(name) === undefined);
}

/** How a guest is started. */
export interface GuestOptions {
  /** Folder for its files; the caller owns and removes it. */
  readonly folder: string;
  /** Whether a person works in its console; otherwise it takes commands from a test. */
  readonly isInteractive?: boolean;
  /** The port that it is connected to. */
  readonly port: VhostUserConfig;
  /** Its address with the length of the prefix, like `10.0.0.1/24`; `dhcp`: a server gives it one. */
  readonly address: string;
  /** Further properties of its network device, like `mrg_rxbuf=off`. */
  readonly device?: string;
  /** Further parameters of its kernel. */
  readonly kernel?: string;
  /** The QEMU that runs it; the installed one unless given. */
  readonly qemu?: Qemu;
  /** Whether memory can be plugged into it while it runs. */
  readonly hasMemorySlots?: boolean;
  /** Devices beside the network device, as QEMU's `-device` takes them. */
  readonly devices?: readonly string[];
  /** Processors; one unless given. */
  readonly processors?: number;
  /** Whether its memory is shared, as vhost-user needs it; true unless told otherwise. */
  readonly isMemoryShared?: boolean;
  /** It does not boot but comes from another QEMU: what it does once it has arrived. */
  readonly arrival?: "goes on" | "stands still";
}

/** What a command in the guest printed. */
export interface GuestOutput {
  /** Its exit code. */
  readonly code: number;
  /** Its output. */
  readonly text: string;
}

/** A running guest. Disposing ends it. */
export class Guest implements AsyncDisposable {
  /** Its address without the prefix; `dhcp` when a server gives it one, see {@linkcode lease}. */
  readonly ip: string;
  /** Its IPv6 address, made of the last number of the other one. */
  readonly ip6: string;
  readonly #console: ConsoleProcess;
  readonly #control: string;
  #read = 0;

  private constructor(options: GuestOptions, console: ConsoleProcess, control: string) {
    this.ip = options.address.replace(/\/.*/, "");
    this.ip6 = `fd00::${this.ip.slice(this.ip.lastIndexOf(".") + 1)}`;
    this.#console = console;
    this.#control = control;
  }

  /**
   * Starts a guest and waits until its network is configured.
   *
   * @param options How.
   * @throws {Error} When it does not boot; the message holds its console.
   */
  static async start(options: GuestOptions): Promise<Guest> {
    return await Guest.#launch(options, (guest) => guest.awaitBoot());
  }

  /**
   * Starts a QEMU that waits for a guest from another one; until it comes, only `qmp` works.
   *
   * @param options Those of the guest that comes, except for the port and the folder.
   */
  static async expect(
    options: GuestOptions & Required<Pick<GuestOptions, "arrival">>,
  ): Promise<Guest> {
    return await Guest.#launch(options, (guest) => guest.qmp("query-status"));
  }

  static async #launch(
    options: GuestOptions,
    isReady: (guest: Guest) => Promise<unknown>,
  ): Promise<Guest> {
    const { program, args } = await qemuCommand(options);
    // QEMU complains when a switch goes away, perhaps while the guest is in the middle of a line.
    const console = new ConsoleProcess(program, args, { errorsApart: true });
    const guest = new Guest(options, console, controlSocket(options));
    try {
      await isReady(guest);
      return guest;
    } catch (error) {
      await console.stop();
      throw error;
    }
  }

  /** QEMU's process number. */
  get pid(): number {
    return this.#console.pid;
  }

  /** Waits for the next boot to end; then the network is configured. */
  async awaitBoot(): Promise<void> {
    await this.#console.awaitOutput("the guest's boot", (output) => {
      const at = output.indexOf(READY, this.#read);
      if (at < 0) return undefined;
      this.#read = at + READY.length;
      return true;
    }, BOOT_TIMEOUT_MS);
  }

  /**
   * Runs a shell command in the guest.
   *
   * @param command One line.
   * @param timeoutMs How long it may take.
   */
  async run(command: string, timeoutMs: number = COMMAND_TIMEOUT_MS): Promise<GuestOutput> {
    await this.#console.writeLine(command);
    return await this.#console.awaitOutput(`the end of "${command}"`, (output) => {
      const end = /@@ (\d+)\r?\n/.exec(output.slice(this.#read));
      if (end === null) return undefined;
      const text = output.slice(this.#read, this.#read + end.index).trim();
      this.#read += end.index + end[0].length;
      return { code: Number(end[1]), text };
    }, timeoutMs);
  }

  /** Runs a shell command that must succeed; returns its output. */
  async must(command: string, timeoutMs: number = COMMAND_TIMEOUT_MS): Promise<string> {
    const { code, text } = await this.run(command, timeoutMs);
    if (code !== 0) throw new Error(`In the guest "${command}" failed with ${code}: ${text}`);
    return text;
  }

  /**
   * Pings another guest.
   *
   * @returns How many of `count` requests were answered.
   */
  async ping(ip: string, count: number): Promise<number> {
    const { text } = await this.run(`ping -c ${count} -i 0.1 -W 2 ${ip}`);
    return Number(/(\d+) packets received/.exec(text)?.[1] ?? 0);
  }

  /**
   * What a DHCP server told it.
   *
   * @returns Words like `ip=10.0.0.100`, `mask=24` and `lease=3600`, by what is before the `=`.
   */
  async lease(): Promise<Readonly<Record<string, string>>> {
    const words = (await this.must("cat /tmp/lease")).split(/\s+/);
    return Object.fromEntries(words.map((word) => word.split("=")));
  }

  /** Frames that its network device has received since it was set up. */
  async receivedFrames(): Promise<number> {
    return Number(await this.must("cat /sys/class/net/eth0/statistics/rx_packets"));
  }

  /** Frames that its network device has sent since it was set up. */
  async sentFrames(): Promise<number> {
    return Number(await this.must("cat /sys/class/net/eth0/statistics/tx_packets"));
  }

  /** Restarts it and waits until its network is configured. */
  async reboot(): Promise<void> {
    await this.#console.writeLine("reboot -f");
    await this.awaitBoot();
  }

  /** Lets its kernel panic, which restarts it, and waits until its network is configured. */
  async panic(): Promise<void> {
    await this.#console.writeLine("echo c >/proc/sysrq-trigger");
    await this.awaitBoot();
  }

  /** Gives a command to QEMU itself. */
  async qmp(command: string, args: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    using qmp = await this.connectQmp();
    return await qmp.execute(command, args);
  }

  /** Connects to QEMU itself, which serves one connection at a time; the caller closes it. */
  async connectQmp(): Promise<Qmp> {
    return await Qmp.connect(this.#control);
  }

  /** Ends QEMU without any chance to say goodbye. */
  async kill(): Promise<void> {
    await this.#console.awaitEnd(0);
  }

  /** Ends QEMU. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#console.stop();
  }
}

/**
 * Prepares a guest's files and makes the arguments of QEMU.
 *
 * @param options How the guest is started.
 * @throws {Error} When a package is missing.
 */
export async function qemuCommand(
  options: GuestOptions,
): Promise<{ readonly program: string; readonly args: string[] }> {
  system ??= buildGuestSystem();
  const { kernel, initramfs } = await system;
  const qemu = options.qemu ?? await installedQemu();
  if (qemu === undefined) throw new Error("Cannot start a guest: QEMU is not installed");
  const initrd = join(options.folder, `${options.port.name}.cpio`);
  await Deno.writeFile(initrd, initramfs);
  const parameters = [
    ...["console=ttyS0", "quiet", "panic=-1", `address=${options.address}`],
    ...options.isInteractive ? ["interactive"] : [],
    ...options.kernel === undefined ? [] : [options.kernel],
  ];
  const args = [
    ...qemu.options,
    ...networkArguments(options, qemu.version),
    ...(options.devices ?? []).flatMap((device) => ["-device", device]),
    ...["-smp", `${options.processors ?? 1}`],
    ...["-accel", ACCELERATOR, "-nodefaults", "-no-user-config", "-display", "none"],
    ...["-serial", options.isInteractive ? "mon:stdio" : "stdio"],
    ...["-qmp", `unix:${controlSocket(options)},server=on,wait=off`],
    ...["-kernel", kernel, "-initrd", initrd, "-append", parameters.join(" ")],
    // Where it comes from is told later.
    ...options.arrival === undefined ? [] : ["-incoming", "defer"],
    ...options.arrival === "stands still" ? ["-S"] : [],
  ];
  return { program: qemu.program, args };
}

function controlSocket({ folder, port }: GuestOptions): string {
  return join(folder, `${port.name}.qmp`);
}

// What `labswitch qemu-args` prints. The boot ROM only costs time.
function networkArguments(
  { port, device, isMemoryShared = true, hasMemorySlots = false }: GuestOptions,
  version: QemuVersion,
): string[] {
  const isEmulated = ACCELERATOR === "tcg";
  const args = qemuArguments(port, MEMORY_MEBIBYTES, version, isEmulated)
    .map((arg) => isMemoryShared ? arg : arg.replace(/-memfd(.*),share=on/, "-ram$1"));
  if (hasMemorySlots) args[args.indexOf("-m") + 1] += MEMORY_SLOTS;
  const at = args.indexOf("-device") + 1;
  args[at] = [args[at]!, "romfile=", device].filter((part) => part !== undefined).join(",");
  return args;
}
