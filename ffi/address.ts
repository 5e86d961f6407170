/**
 * Where the bytes of a buffer are, for structs that point to others.
 *
 * @module
 */

/**
 * The address of a view's first byte. It stays the same for as long as the view is reachable.
 *
 * @param view The bytes.
 */
export function addressOf(view: ArrayBufferView): bigint {
  // Asking for the buffer moves the bytes of a small array out of the collected heap, where they stay.
  void view.buffer;
  return Deno.UnsafePointer.value(Deno.UnsafePointer.of(view as ArrayBufferView<ArrayBuffer>));
}
