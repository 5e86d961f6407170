import type { Io } from "./io.ts";
export async function demo(_seconds: number, _io: Io): Promise<number> {
  return await Promise.resolve(1);
}
