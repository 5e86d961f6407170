/**
 * The QEMUs that guests are started with: the installed one, and a newer one from Debian's backports,
 * which is unpacked beside it, not installed instead of it.
 *
 * @module
 */
import { join } from "node:path";
import { parseQemuVersion, type QemuVersion } from "../../../src/cli/qemu_args.ts";
import { findProgram, runToEnd } from "../console_process.ts";

/** One QEMU. */
export interface Qemu {
  /** Path or name of the program. */
  readonly program: string;
  /** Arguments that tell it where its files are. */
  readonly options: readonly string[];
  /** Its version. */
  readonly version: QemuVersion;
}

const PROGRAM = `qemu-system-${Deno.build.arch}`;
const FOLDER = join(import.meta.dirname!, "../../.cache/qemu-backports");
const ROOT = join(FOLDER, "root");
const PACKAGES = ["qemu-system-x86", "qemu-system-common", "qemu-system-data"];
/** Firmware that the backported packages take from another package. */
const FIRMWARE = "/usr/share/seabios";

/** The installed QEMU; undefined when there is none. */
export async function installedQemu(): Promise<Qemu | undefined> {
  if (findProgram(PROGRAM) === undefined) return undefined;
  return await qemu(PROGRAM, []);
}

/** The QEMU of the backports; undefined when it was not unpacked. */
export async function backportedQemu(): Promise<Qemu | undefined> {
  const program = join(ROOT, "usr/bin", PROGRAM);
  if (findProgram(program) === undefined) return undefined;
  return await qemu(program, ["-L", join(ROOT, "usr/share/qemu"), "-L", FIRMWARE]);
}

async function qemu(program: string, options: readonly string[]): Promise<Qemu> {
  const version = parseQemuVersion(await runToEnd(program, ["--version"]));
  if (version === null) throw new Error(`Cannot use ${program}: it does not tell its version`);
  return { program, options, version };
}

/**
 * Downloads and unpacks the QEMU of this Debian release's backports, unless that was done before.
 * Neither needs to be root: apt works on lists and a cache of its own.
 *
 * @throws {Error} When apt or dpkg fails.
 */
export async function unpackBackportedQemu(): Promise<void> {
  if (await backportedQemu() !== undefined) return;
  await Deno.mkdir(join(FOLDER, "lists/partial"), { recursive: true });
  await Deno.mkdir(join(FOLDER, "cache/archives/partial"), { recursive: true });
  const sources = join(FOLDER, "sources.list");
  await Deno.writeTextFile(sources, await backportsSource());
  const options = [
    ...["-q=2", "-o", `Dir::Etc::sourcelist=${sources}`, "-o", "Dir::Etc::sourceparts=-"],
    ...["-o", `Dir::State::lists=${FOLDER}/lists`, "-o", `Dir::Cache=${FOLDER}/cache`],
    // The folder need not be open to apt's own user.
    ...["-o", "APT::Sandbox::User=root"],
  ];
  await runToEnd("apt-get", [...options, "update"], { folder: FOLDER });
  await runToEnd("apt-get", [...options, "download", ...PACKAGES], { folder: FOLDER });
  for await (const { name } of Deno.readDir(FOLDER)) {
    if (name.endsWith(".deb")) await runToEnd("dpkg", ["-x", join(FOLDER, name), ROOT]);
  }
}

// The mirror that this machine already uses for its release, with the backports' name.
async function backportsSource(): Promise<string> {
  const release = await runToEnd("sh", ["-c", ". /etc/os-release && echo $VERSION_CODENAME"]);
  const codename = release.trim();
  const targets = await runToEnd("apt-get", [
    ...["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", `Codename: ${codename}`],
  ]);
  const mirror = targets.split("\n")[0]!;
  if (mirror === "") throw new Error(`Cannot find a mirror of ${codename}`);
  return `deb ${mirror} ${codename}-backports main\n`;
}
