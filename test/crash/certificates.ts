import { createPrivateKey, X509Certificate } from 'node:crypto';
import { expect } from 'vitest';
import { makeCsr } from '../../src/x509/index.ts';
import type { PgacmeProcess } from '../helpers/process.ts';
import { type AcmeRecord, finalizations, ordersMade } from '../helpers/recording-proxy/index.ts';
import type { World } from '../helpers/world.ts';
import type { CrashWorld } from './crash-world.ts';

/** A CSR that was inserted, with its key, which only its owner has. */
export interface Inserted {
  id: string;
  names: string[];
  keyPem: string;
}

/** Inserts a CSR for these names and keeps the key. */
export async function insertWithKey(
  world: World,
  names: string[],
  columns: Record<string, unknown> = {},
): Promise<Inserted> {
  const { pem, keyPem } = await makeCsr({ names });
  return { id: await world.insert({ pem }, columns), names, keyPem };
}

/** Each csr has one certificate, for its key; at the CA no order was finalized twice. */
export async function expectOneCertificateEach(
  world: CrashWorld,
  csrs: readonly Inserted[],
): Promise<void> {
  for (const { id, keyPem } of csrs) {
    const stored = await world.sql<{ chain_pem: string }[]>`
      select chain_pem from acme.certificate where csr_id = ${id}`;
    expect(stored, `certificates of csr ${id}`).toHaveLength(1);
    const certificate = new X509Certificate(stored[0]?.chain_pem ?? '');
    expect(certificate.checkPrivateKey(createPrivateKey(keyPem)), `key of csr ${id}`).toBe(true);
  }
  for (const [order, { succeeded }] of finalizations(world.proxy.records)) {
    expect(succeeded, `how often ${order} was finalized`).toBeLessThanOrEqual(1);
  }
}

/** How many orders for exactly these names the CA was asked to finalize, and took. */
export function finalizedFor({ proxy }: CrashWorld, names: readonly string[]): number {
  const finalized = finalizations(proxy.records);
  return ordersMade(proxy.records).filter(
    ({ url, identifiers }) =>
      identifiers.join() === names.join() && (finalized.get(url)?.succeeded ?? 0) > 0,
  ).length;
}

/** The names of the order that a request is about, as far as that is known. */
export function namesOf({ proxy }: CrashWorld, { order }: Readonly<AcmeRecord>): string[] {
  return ordersMade(proxy.records).find(({ url }) => url === order)?.identifiers ?? [];
}

/** What is waited for; fails at once, with the worker's last words, when its process ends meanwhile. */
export async function whileItRuns<T>(worker: PgacmeProcess, wait: Promise<T>): Promise<T> {
  const died = worker.exited.then(({ code, signal }) => {
    const words = worker.lines.slice(-20).join('\n');
    throw new Error(`The worker ended (code ${code}, signal ${signal}). Its last lines:\n${words}`);
  });
  return Promise.race([wait, died]);
}
