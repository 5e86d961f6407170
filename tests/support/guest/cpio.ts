/**
 * Writes the archive format that the Linux kernel unpacks as its first file system.
 *
 * Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst ("newc").
 *
 * @module
 */

/** A file of an archive. */
export interface ArchiveFile {
  /** Path from the root, without a leading slash. */
  readonly path: string;
  /** Content. */
  readonly data: Uint8Array;
}

const MAGIC = "070701";
const FOLDER_MODE = 0o040755;
const FILE_MODE = 0o100755;
/** The entry that ends an archive. */
const TRAILER = "TRAILER!!!";
/** Headers and contents begin at multiples of this. */
const ALIGN_BYTES = 4;

/**
 * Makes an archive of executable files, with the folders they need.
 *
 * @param files Files in any order.
 * @param folders Further, empty folders.
 * @returns The archive, not compressed.
 */
export function archive(files: readonly ArchiveFile[], folders: readonly string[]): Uint8Array {
  const parts: Uint8Array[] = [];
  let inode = 1;
  for (const folder of allFolders(files, folders)) {
    parts.push(...entry(folder, FOLDER_MODE, inode++, new Uint8Array(0)));
  }
  for (const { path, data } of files) parts.push(...entry(path, FILE_MODE, inode++, data));
  parts.push(...entry(TRAILER, 0, 0, new Uint8Array(0)));
  return concatenate(parts);
}

function allFolders(files: readonly ArchiveFile[], folders: readonly string[]): Set<string> {
  const all = new Set<string>();
  for (
    const path of [
      ...folders.map((folder) => `${folder}/.`),
      ...files.map(({ path }) => path),
    ]
  ) {
    const names = path.split("/").slice(0, -1);
    names.forEach((_, i) => all.add(names.slice(0, i + 1).join("/")));
  }
  return all;
}

function entry(path: string, mode: number, inode: number, data: Uint8Array): Uint8Array[] {
  const name = new TextEncoder().encode(`${path}\0`);
  const fields = [
    ...[inode, mode, 0, 0, 1, 0, data.length],
    // Numbers of the devices that the file is on and stands for, the name's length, no checksum.
    ...[0, 0, 0, 0, name.length, 0],
  ];
  const header = MAGIC + fields.map((field) => field.toString(16).padStart(8, "0")).join("");
  const head = concatenate([new TextEncoder().encode(header), name]);
  return [head, padding(head.length), data, padding(data.length)];
}

function padding(length: number): Uint8Array {
  return new Uint8Array(-length & (ALIGN_BYTES - 1));
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
