import type { Sql } from '../../db/steps/connect.ts';

/** A row of acme.server, and whether an account is at it. */
export interface ServerFacts {
  id: number;
  name: string;
  directory_url: string;
  ca_bundle: string | null;
  allowed_hosts: string[];
  is_paused: boolean;
  pause_reason: string | null;
  is_used: boolean;
}

/** What acme_private.doctor() tells. */
export interface Facts {
  /** Name of what ran to its hash. */
  migrations: Record<string, string>;
  servers: ServerFacts[];
  accounts: {
    id: number;
    name: string;
    server: string;
    state: string;
    reason_code: string | null;
    reason: string | null;
    /** Of a closed one: whether a csr, a domain or the part of the default account still wants it. */
    is_needed: boolean;
  }[];
  workers: {
    id: number;
    host: string;
    pid: number;
    state: string;
    concurrency: number;
    seconds: number;
  }[];
  /** Csrs by their own state, issued ones left out. */
  states: Record<string, number>;
  /** How many names, sets of names, domains and csrs servers limit at the moment. */
  cooldowns: number;
  /** The first rows of acme.attention, each with the number of all. */
  attention: {
    severity: 'warning' | 'critical';
    code: string;
    csr_id: number | null;
    names: string[] | null;
    sentence: string;
    what_to_do: string;
    total: number;
  }[];
  /** Why the database is held as a copy, whatever the worker's environment; absent: an older version's. */
  hold?: string | null;
  /** The PGACME_ENVIRONMENT that it was set up with. */
  environment?: string | null;
}

/** Reads them; throws what PostgreSQL says where there is no such function, or not for this login. */
export async function readFacts(sql: Sql): Promise<Facts | undefined> {
  const [row] = await sql<{ facts: Facts }[]>`select acme_private.doctor() as facts`;
  return row?.facts;
}
