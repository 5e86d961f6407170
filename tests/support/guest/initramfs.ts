/**
 * The system of a test guest, made of what Debian packages installed here: kernel, its virtio
 * modules, busybox and iperf3.
 *
 * @module
 */
import { runToEnd } from "../console_process.ts";
import { archive, type ArchiveFile } from "./cpio.ts";

/** Kernel modules in the order in which they are loaded. */
const MODULES = [
  "drivers/virtio/virtio_ring.ko",
  "drivers/virtio/virtio.ko",
  "drivers/virtio/virtio_pci_modern_dev.ko",
  "drivers/virtio/virtio_pci_legacy_dev.ko",
  "drivers/virtio/virtio_pci.ko",
  "drivers/virtio/virtio_balloon.ko",
  "net/core/failover.ko",
  "drivers/net/net_failover.ko",
  "drivers/net/virtio_net.ko",
] as const;

const BUSYBOX = "/bin/busybox";
/** Programs that need libraries. */
const PROGRAMS = ["/usr/bin/iperf3", "/usr/sbin/ethtool", "/usr/sbin/dnsmasq"];
/** Where the kernels are that Debian's linux-image packages install. */
const KERNEL = /^vmlinuz-(.*-cloud-.*)$/;

/** What a guest boots. */
export interface GuestSystem {
  /** Path of the kernel. */
  readonly kernel: string;
  /** The first file system, not compressed. */
  readonly initramfs: Uint8Array;
}

/**
 * Finds the newest installed cloud kernel.
 *
 * @returns Its version, or undefined when there is none.
 */
export function installedKernel(): string | undefined {
  const versions = [...Deno.readDirSync("/boot")].flatMap(({ name }) =>
    KERNEL.exec(name)?.[1] ?? []
  );
  return versions.toSorted((a, b) => a.localeCompare(b, "en", { numeric: true })).at(-1);
}

/**
 * Builds the system of a test guest.
 *
 * @throws {Error} When a package is missing.
 */
export async function buildGuestSystem(): Promise<GuestSystem> {
  const version = installedKernel();
  if (version === undefined) throw new Error("Cannot build a guest: no cloud kernel is installed");
  const modules = await Promise.all(MODULES.map(async (module): Promise<ArchiveFile> => ({
    path: `modules/${baseName(module)}`,
    data: await Deno.readFile(`/lib/modules/${version}/kernel/${module}`),
  })));
  const order = `${MODULES.map(baseName).join("\n")}\n`;
  const files: ArchiveFile[] = [
    { path: "init", data: await Deno.readFile(new URL("init.sh", import.meta.url)) },
    { path: "dhcp", data: await Deno.readFile(new URL("dhcp.sh", import.meta.url)) },
    { path: "bin/busybox", data: await Deno.readFile(BUSYBOX) },
    // Some programs look up whom they run as.
    { path: "etc/passwd", data: new TextEncoder().encode("root:x:0:0::/:/bin/sh\n") },
    { path: "etc/group", data: new TextEncoder().encode("root:x:0:\n") },
    { path: "modules/order", data: new TextEncoder().encode(order) },
    ...modules,
    ...await withLibraries(PROGRAMS),
  ];
  return {
    kernel: `/boot/vmlinuz-${version}`,
    initramfs: archive(files, ["proc", "sys", "dev", "tmp"]),
  };
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

// The programs, and every library that the dynamic linker would load for them, at the same paths.
async function withLibraries(programs: readonly string[]): Promise<ArchiveFile[]> {
  const listed = await runToEnd("ldd", programs);
  const libraries = [...listed.matchAll(/(\/\S+) \(0x/g)].map(([, path]) => path!);
  return await Promise.all([...new Set([...programs, ...libraries])].map(async (path) => ({
    path: path.slice(1),
    data: await Deno.readFile(path),
  })));
}
