/**
 * The rows that tests set, by the word for each thing: its table in acme_private, what it is found by, and
 * the columns that tests set. A table or a column that gets another name is renamed here.
 */
export const kinds = {
  account: {
    table: 'account_state',
    key: 'account_id',
    columns: [
      'state',
      'url',
      'thumbprint',
      'verified_at',
      'version',
      'seen_version',
      'told_version',
      'since',
      'reread_since',
    ],
  },
  account_key: {
    table: 'account_key',
    key: 'id',
    columns: ['account_id', 'state', 'jwe', 'thumbprint', 'spki_sha256', 'sent_at', 'retired_at'],
  },
  authorization: {
    table: 'authorization',
    key: 'id',
    columns: ['account_id', 'tenant', 'state', 'url', 'identifier', 'expires_at', 'waiting_since'],
  },
  blocked_key: { table: 'blocked_key', key: 'spki_sha256', columns: ['spki_sha256', 'reason'] },
  certificate: {
    table: 'certificate',
    key: 'id',
    columns: [
      'csr_id',
      'tenant',
      'order_id',
      'account_id',
      'state',
      'identifiers',
      'not_after',
      'serial',
      'subject',
      'issuer',
      'fingerprint_sha256',
      'revoking_since',
      'spki_sha256',
      'planned_renewal_at',
      'revoked_at',
      'revocation_reason',
    ],
  },
  certificate_name: {
    table: 'certificate_name',
    key: 'certificate_id',
    columns: ['name', 'certificate_id', 'tenant'],
  },
  challenge: {
    table: 'challenge',
    key: 'id',
    columns: ['authorization_id', 'tenant', 'url', 'type', 'token', 'key_authorization', 'state'],
  },
  cooldown: {
    table: 'closure',
    key: 'id',
    columns: ['server_id', 'account_id', 'scope', 'value', 'until', 'reason'],
  },
  csr: {
    table: 'csr_state',
    key: 'csr_id',
    columns: [
      'csr_id',
      'tenant',
      'state',
      'identifiers',
      'identifiers_key',
      'queued_at',
      'spki_sha256',
      'server_id',
      'account_id',
      'order_id',
      'certificate_id',
      'renew_at',
      'renewal_reason',
      'cooldown_id',
    ],
  },
  event: {
    table: 'event',
    key: 'id',
    columns: ['event', 'tenant', 'csr_id', 'order_id', 'at', 'detail', 'xid'],
  },
  installation: {
    table: 'installation',
    key: 'is_only',
    columns: ['system_identifier', 'database_name', 'environment'],
  },
  migration: { table: 'migration', key: 'name', columns: ['name', 'sha256'] },
  name: {
    table: 'tenant_name',
    key: 'name',
    columns: ['tenant', 'name', 'registered_domain', 'owner_since', 'proved_at'],
  },
  order: {
    table: 'order',
    key: 'id',
    columns: [
      'csr_id',
      'tenant',
      'state',
      'account_id',
      'is_live',
      'is_parked',
      'identifiers',
      'identifiers_key',
      'server_id',
      'expires_at',
      'url',
      'finalize_url',
      'certificate_url',
      'watched_until',
      'finished_at',
      'made_at',
      'waiting_since',
    ],
  },
  order_authorization: {
    table: 'order_authorization',
    key: 'authorization_id',
    columns: ['order_id', 'authorization_id'],
  },
  record: {
    table: 'record',
    key: 'id',
    columns: [
      'challenge_id',
      'tenant',
      'solver',
      'method',
      'type',
      'identifier',
      'token',
      'value',
      'state',
    ],
  },
  request: { table: 'request', key: 'id', columns: ['csr_id'] },
  server_contact: { table: 'server_contact', key: 'server_id', columns: ['asked_at'] },
  server_fact: { table: 'server_fact', key: 'server_id', columns: ['at'] },
  worker: {
    table: 'worker',
    key: 'id',
    columns: ['host', 'pid', 'version', 'concurrency', 'http01', 'heartbeat_at', 'stopped_at'],
  },
} as const;

/** Columns of whatever is worked on in steps. */
export const workColumns = [
  'next_attempt_at',
  'attempts',
  'reason_code',
  'reason',
  'last_problem',
  'lease_token',
  'lease_until',
  'lease_worker',
  'claims',
  'created_at',
  'updated_at',
] as const;

export type Kind = keyof typeof kinds;

export type Column<K extends Kind> =
  (typeof kinds)[K]['columns'][number] | (typeof workColumns)[number];
