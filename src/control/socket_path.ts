/**
 * Makes a socket path free to listen on: a stale socket is replaced, a live one is refused.
 *
 * @module
 */
import { ECONNREFUSED, ENOENT, OsError } from "../../ffi/errno.ts";
import { readProcFile } from "../../ffi/proc.ts";
import { connectUnix, peerCredentials } from "../../ffi/unix_socket.ts";

/** A path that cannot be listened on; its message says why and what to do. */
export class SocketPathError extends Error {
  override readonly name = "SocketPathError";
}

/**
 * Removes a stale socket file.
 *
 * @param path Where somebody is about to listen.
 * @returns Whether a stale socket was removed.
 * @throws {SocketPathError} When the folder is missing, the path is no socket, or a process listens.
 */
export function clearSocketPath(path: string): boolean {
  let info: Deno.FileInfo;
  try {
    info = Deno.lstatSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      requireFolder(path);
      return false;
    }
    throw new SocketPathError(`Cannot look at ${path}: ${(error as Error).message}`);
  }
  if (!info.isSocket) {
    throw new SocketPathError(
      `Cannot listen on ${path}: something else than a socket is there; ` +
        "remove it or choose another path",
    );
  }
  if (isLive(path)) {
    throw new SocketPathError(
      `Cannot listen on ${path}: ${owner(path)} listens there; ` +
        "stop it or choose another path",
    );
  }
  Deno.removeSync(path);
  return true;
}

function requireFolder(path: string): void {
  const folder = path.slice(0, path.lastIndexOf("/")) || "/";
  try {
    if (Deno.statSync(folder).isDirectory) return;
  } catch {
    // Reported below, like a folder that is a file.
  }
  throw new SocketPathError(
    `Cannot listen on ${path}: the folder ${folder} does not exist; create it with mkdir -p ${folder}`,
  );
}

// Nobody accepts on a stale socket, so connecting to it is refused at once.
function isLive(path: string): boolean {
  try {
    connectUnix(path).close();
    return true;
  } catch (error) {
    if (error instanceof OsError) return error.errno !== ECONNREFUSED && error.errno !== ENOENT;
    throw error;
  }
}

function owner(path: string): string {
  try {
    using socket = connectUnix(path);
    const { pid } = peerCredentials(socket);
    return `process ${pid} (${processName(pid)})`;
  } catch {
    return "another process";
  }
}

/** The name of a process, as the kernel shows it; "unknown" when it is gone or hidden. */
export function processName(pid: number): string {
  try {
    return readProcFile(`/proc/${pid}/comm`).trim();
  } catch {
    return "unknown";
  }
}
