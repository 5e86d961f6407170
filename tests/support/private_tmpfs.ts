/**
 * A small tmpfs that only this test sees: mounted in a mount namespace of its own, so nothing of the
 * machine changes and no privilege is needed where users may have namespaces.
 *
 * @module
 */
import { join } from "node:path";
import { libc } from "../../ffi/libc.ts";
import type { Fd } from "../../ffi/fd.ts";
import { findProgram } from "./console_process.ts";
import { openFile } from "./descriptors.ts";

const KIB = 1024;
/** Mounts, says so, and keeps the namespace alive until its input ends. */
const SCRIPT = 'mount -t tmpfs -o "size=$1k" none "$2" && echo ready && exec cat';
const NAMESPACES = ["--user", "--map-root-user", "--mount"];
/** As for {@linkcode openFile}: made anew, readable and writable. */
const CREATE = "wx+";

/** What is missing, as soon as it was looked for. */
let missing: { readonly what: string | undefined } | null = null;

/** Says what is missing for a {@linkcode PrivateTmpfs}, `undefined` when nothing is. */
export function noPrivateTmpfs(): string | undefined {
  return (missing ??= { what: findMissing() }).what;
}

function findMissing(): string | undefined {
  if (findProgram("unshare") === undefined) return "unshare";
  const args = [...NAMESPACES, "mount", "-t", "tmpfs", "none", "/tmp"];
  const { success } = new Deno.Command("unshare", { args, stderr: "null" }).outputSync();
  return success ? undefined : "a kernel that lets this user mount a tmpfs";
}

/** A tmpfs of a limited size. */
export class PrivateTmpfs implements AsyncDisposable {
  /** Bytes of all its files together. */
  readonly sizeBytes: number;
  readonly #holder: Deno.ChildProcess;
  readonly #folder: string;

  private constructor(holder: Deno.ChildProcess, folder: string, sizeBytes: number) {
    this.#holder = holder;
    this.#folder = folder;
    this.sizeBytes = sizeBytes;
  }

  /**
   * Mounts one.
   *
   * @param sizeKib Its size, whole pages.
   */
  static async mount(sizeKib: number): Promise<PrivateTmpfs> {
    const folder = await Deno.makeTempDir({ prefix: "labswitch-test-" });
    const args = [...NAMESPACES, "sh", "-c", SCRIPT, "sh", `${sizeKib}`, folder];
    const holder = new Deno.Command("unshare", { args, stdin: "piped", stdout: "piped" }).spawn();
    const reader = holder.stdout.getReader();
    const { value } = await reader.read();
    await reader.cancel();
    const tmpfs = new PrivateTmpfs(holder, folder, sizeKib * KIB);
    if (value !== undefined) return tmpfs;
    await tmpfs[Symbol.asyncDispose]();
    throw new Error("Cannot mount a tmpfs in a namespace");
  }

  /**
   * Makes a file that has a size and no pages.
   *
   * @param name Its name.
   * @param sizeBytes Its size, which may be more than the file system has.
   * @returns The file; the caller owns it.
   */
  createSparse(name: string, sizeBytes: number | bigint): Fd {
    const fd = openFile(this.#path(name), CREATE);
    libc().ftruncate(fd.number, BigInt(sizeBytes));
    return fd;
  }

  /** Makes a file that takes so many bytes away from the others. */
  async occupy(name: string, sizeBytes: number): Promise<void> {
    await Deno.writeFile(this.#path(name), new Uint8Array(sizeBytes));
  }

  /** Makes a file that takes every byte away from the others; returns whether they had none. */
  async fill(name: string): Promise<boolean> {
    try {
      await this.occupy(name, this.sizeBytes);
      return true;
    } catch (error) {
      if ((error as { readonly code?: string }).code !== "ENOSPC") throw error;
      return false;
    }
  }

  /** Removes a file. */
  async remove(name: string): Promise<void> {
    await Deno.remove(this.#path(name));
  }

  /** Bytes that a file really has. */
  async occupiedBytes(name: string): Promise<number> {
    // In units of 512 bytes, whatever the file system's block is (man 3 stat).
    return (await Deno.stat(this.#path(name))).blocks! * 512;
  }

  /** Ends the namespace, and with it the mount; files that are open live on. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#holder.stdin.close();
    await this.#holder.status;
    await Deno.remove(this.#folder, { recursive: true });
  }

  // The namespace as its process sees it.
  #path(name: string): string {
    return join(`/proc/${this.#holder.pid}/root`, this.#folder, name);
  }
}
