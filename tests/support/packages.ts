/**
 * The Debian packages that the tests use, and their installation.
 *
 * @module
 */

import { unpackBackportedQemu } from "./guest/qemu.ts";

/** What is used, and what for. */
const PACKAGES: readonly string[] = [
  "qemu-system-x86", // guests
  "linux-image-cloud-amd64", // their kernel and its network driver
  "busybox-static", // their programs
  "iperf3",
  "ethtool",
  "dnsmasq-base", // what network boot asks for
  "ipxe", // who asks
  "dpdk-dev", // testpmd
  "openvswitch-switch-dpdk", // a back-end of somebody else
  "gcc", // the C headers' own sizes and offsets
  "libc6-dev",
  "linux-libc-dev",
];

/**
 * Installs what is missing when that is possible: on Debian, as root. Otherwise it says what to do;
 * tests that miss a program are skipped with the reason.
 */
export async function installPackages(): Promise<void> {
  const missing = await missingPackages();
  if (missing === null) {
    console.log("This is not Debian: tests that need QEMU, DPDK or a C compiler may be skipped.");
    return;
  }
  if (missing.length === 0) return await unpackBackportedQemu();
  const install = ["install", "--yes", "--no-install-recommends", ...missing];
  if (Deno.uid() !== 0) {
    console.log("Some tests will be skipped. To run them all, install what they use:");
    console.log(`  sudo apt-get ${install.join(" ")}`);
    return;
  }
  console.log(`Installing ${missing.join(", ")}`);
  await aptGet(["update"]);
  await aptGet(install);
  await unpackBackportedQemu();
}

/** The packages that are not installed; null when there is no dpkg. */
async function missingPackages(): Promise<string[] | null> {
  const missing: string[] = [];
  for (const name of PACKAGES) {
    try {
      const args = ["--show", "--showformat", "${db:Status-Status}", name];
      const { stdout } = await new Deno.Command("dpkg-query", { args, stderr: "null" }).output();
      if (new TextDecoder().decode(stdout) !== "installed") missing.push(name);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return null;
      throw error;
    }
  }
  return missing;
}

async function aptGet(args: readonly string[]): Promise<void> {
  const env = { DEBIAN_FRONTEND: "noninteractive" };
  const { success, stdout, stderr } = await new Deno.Command("apt-get", {
    args: ["--quiet=2", ...args],
    env,
    stdin: "null",
  }).output();
  if (success) return;
  const text = new TextDecoder();
  console.error(`apt-get ${args.join(" ")} failed:`);
  console.error(text.decode(stdout) + text.decode(stderr));
}
