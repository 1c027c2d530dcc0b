/** Makes a call as a user who may not read everything, which root may. */
export async function asAnyUser(call: () => Promise<void>): Promise<void> {
  const isRoot = process.geteuid?.() === 0;
  if (isRoot) process.seteuid?.(65_534);
  try {
    await call();
  } finally {
    if (isRoot) process.seteuid?.(0);
  }
}
