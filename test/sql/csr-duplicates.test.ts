import type postgres from 'postgres';
import { beforeAll, describe, expect, test } from 'vitest';
import { pemShapedLikeCsr } from '../helpers/pem.ts';
import { type FreshDatabase, freshDatabase } from '../helpers/postgres.ts';
import { refusal } from '../helpers/refusal.ts';
import { set } from '../helpers/state/index.ts';
import { until } from '../helpers/until.ts';

let database: FreshDatabase;
let app: postgres.Sql;

beforeAll(async () => {
  database = await freshDatabase();
  app = await database.as('acme_app', { max: 4 });
});

interface Row {
  id: string;
  ref: string | null;
  version: string;
  renew_request: string | null;
}

async function insert(
  pem: string,
  ref: string | null = null,
  sql: postgres.Sql | postgres.TransactionSql = app,
) {
  const [row] = await sql<
    [Row]
  >`insert into acme.csr (pem, ref) values (${pem}, ${ref}) returning *`;
  return row;
}

/** Sees to the requests of a csr, as a worker does. */
const attend = (id: string) => database.sql`select acme_private.attend(null, ${id}, 0)`;

describe('the same CSR twice is one csr', () => {
  test('in two statements: the error names the first, and what to do', async () => {
    const pem = pemShapedLikeCsr();
    const { id } = await insert(pem);
    expect(await refusal(insert(pem))).toMatchObject({
      code: '23505',
      constraint_name: 'csr_is_one',
      message: `This certificate signing request is already csr ${id}.`,
      detail: `csr_id=${id}`,
      hint: expect.stringContaining('acme.request(pem) returns the existing row') as unknown,
    });
  });

  test('in one statement', async () => {
    const pem = pemShapedLikeCsr();
    const error = await refusal(
      app`insert into acme.csr (pem) select unnest(${[pem, pem]}::text[])`,
    );
    expect(error.code).toBe('23505');
    expect(error.message).toMatch(/the same certificate signing request or the same ref twice/);
  });

  test('from two sessions at once: the second waits for the first, and is refused', async () => {
    const pem = pemShapedLikeCsr();
    let second: Promise<postgres.PostgresError> | undefined;
    const first = await app.begin(async (tx) => {
      const row = await insert(pem, null, tx);
      second = refusal(insert(pem));
      await waitsForALock();
      return row;
    });
    expect((await second)?.message).toBe(
      `This certificate signing request is already csr ${first.id}.`,
    );
  });

  test('from two sessions at once: the second goes through when the first rolls back', async () => {
    const pem = pemShapedLikeCsr();
    let second: Promise<Row> | undefined;
    await app
      .begin(async (tx) => {
        await insert(pem, null, tx);
        second = insert(pem);
        await waitsForALock();
        throw new Error('undo');
      })
      .catch(() => undefined);
    await expect(second).resolves.toHaveProperty('id');
  });

  test('another tenant may have it too', async () => {
    const pem = pemShapedLikeCsr();
    const { id } = await insert(pem);
    const other = await database.as('acme_app', { login: 'other' });
    expect((await insert(pem, null, other)).id).not.toBe(id);
  });

  test('one wrong row among thousands is found without delay', async () => {
    const pems = Array.from({ length: 3000 }, () => pemShapedLikeCsr(60));
    await app`insert into acme.csr (pem) select unnest(${pems}::text[])`;
    const again = [...Array.from({ length: 3000 }, () => pemShapedLikeCsr(60)), pems[1234] ?? ''];
    const error = await refusal(
      app.begin(async (tx) => {
        await tx`set local statement_timeout = '10s'`;
        await tx`insert into acme.csr (pem) select unnest(${again}::text[])`;
      }),
    );
    expect(error.message).toMatch(/is already csr \d+\./);
  });
});

/** Waits until a session of this database waits for another one's lock. */
async function waitsForALock(): Promise<void> {
  await until(
    async () => {
      const rows = await database.sql`
        select from pg_stat_activity
         where datname = current_database() and wait_event_type = 'Lock'`;
      return rows.length > 0;
    },
    { what: 'the other session waits for a lock' },
  );
}

describe('a ref belongs to one live csr of its tenant', () => {
  test('taken twice: the error names its csr, and what to do', async () => {
    const { id } = await insert(pemShapedLikeCsr(), 'twice');
    expect(await refusal(insert(pemShapedLikeCsr(), 'twice'))).toMatchObject({
      code: '23505',
      constraint_name: 'csr_ref_is_one',
      message: `The ref 'twice' already belongs to csr ${id}.`,
      detail: `csr_id=${id}`,
      hint: expect.stringContaining(`acme.cancel(${id})`) as unknown,
    });
    const other = await database.as('acme_app', { login: 'other' });
    await expect(insert(pemShapedLikeCsr(), 'twice', other)).resolves.toHaveProperty('id');
  });

  test('free again once its csr is cancelled', async () => {
    const pem = pemShapedLikeCsr();
    const { id } = await insert(pem, 'cancelled');
    await app`select acme.cancel(${id})`;
    await attend(id);
    const again = await insert(pem, 'cancelled');
    expect(again.id).not.toBe(id);
  });

  test('free again once its csr is rejected, which then cannot come back to life', async () => {
    const pem = pemShapedLikeCsr();
    const { id } = await insert(pem, 'rejected');
    await set(database.sql, 'csr', id, { state: 'rejected', reason_code: 'bad_signature' });
    const again = await insert(pem, 'rejected');
    await app`select acme.retry(${id})`;
    await attend(id);
    const rows = await app<{ id: string; state: string; reason_code: string }[]>`
      select id, state, reason_code from acme.csr_status where id in (${id}, ${again.id}) order by id`;
    expect(rows).toMatchObject([
      { state: 'rejected', reason_code: 'replaced' },
      { state: 'received' },
    ]);
  });
});

describe('acme.request with a CSR that is there', () => {
  const request = async (pem: string, onDuplicate: string, ref: string | null = null) => {
    const [row] = await app<
      [Row]
    >`select * from acme.request(${pem}, ${ref}, on_duplicate := ${onDuplicate})`;
    return row;
  };

  test.each(['return', 'renew', 'refuse'])('%s makes a row the first time', async (onDuplicate) => {
    const row = await request(pemShapedLikeCsr(), onDuplicate, `first-${onDuplicate}`);
    expect(row).toMatchObject({ ref: `first-${onDuplicate}`, version: '1', renew_request: null });
  });

  test('return gives the row and changes nothing', async () => {
    const pem = pemShapedLikeCsr();
    const row = await insert(pem, 'original');
    expect(await request(pem, 'return', 'another')).toEqual(row);
  });

  test('renew gives the row, with a new order asked for', async () => {
    const pem = pemShapedLikeCsr();
    const { id } = await insert(pem);
    expect(await request(pem, 'renew')).toMatchObject({ id, version: '2', renew_request: '2' });
  });

  test('refuse raises what a plain INSERT does', async () => {
    const pem = pemShapedLikeCsr();
    const { id } = await insert(pem);
    expect((await refusal(request(pem, 'refuse'))).message).toBe(
      `This certificate signing request is already csr ${id}.`,
    );
  });

  test('another CSR with its ref is refused, whatever on_duplicate says', async () => {
    await insert(pemShapedLikeCsr(), 'taken');
    for (const onDuplicate of ['return', 'renew', 'refuse']) {
      expect((await refusal(request(pemShapedLikeCsr(), onDuplicate, 'taken'))).message).toMatch(
        /^The ref 'taken' already belongs to csr/,
      );
    }
  });

  test('an on_duplicate that is not known is refused with those that are', async () => {
    const error = await refusal(request(pemShapedLikeCsr(), 'ignore'));
    expect(error.message).toBe("on_duplicate is 'ignore'; it must be return, renew or refuse.");
    const none = await refusal(
      app`select acme.request(${pemShapedLikeCsr()}, on_duplicate := null)`,
    );
    expect(none.message).toBe('on_duplicate is NULL; it must be return, renew or refuse.');
  });
});
