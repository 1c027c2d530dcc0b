import { randomBytes } from 'node:crypto';
import { beforeAll, expect, test } from 'vitest';
import { findings } from '../cli/doctor/findings.ts';
import { openShop, type Shop } from '../helpers/shop.ts';
import { add, ago, set } from '../helpers/state/index.ts';

let shop: Shop;
beforeAll(async () => {
  shop = await openShop();
});
const ends: (() => void)[] = [];

interface Row {
  severity: string;
  code: string;
  since: Date;
  sentence: string;
  what_to_do: string;
}

const rows = () => shop.sql<Row[]>`select * from acme_private.attention_session`;

test('a transaction that is left open and freezes acme.changes is named by its process, with what ends it', async () => {
  expect(await rows()).toEqual([]);
  const forgetful = await shop.database.as('acme_app', { login: 'forgetful', max: 1 });
  let pid = 0;
  let statement = '';
  await new Promise<void>((resolve, reject) => {
    const open = forgetful.begin(async (tx) => {
      [{ pid }] = await tx<[{ pid: number }]>`select pg_backend_pid() as pid, pg_current_xact_id()`;
      resolve();
      await new Promise<void>((end) => ends.push(end));
    });
    open.catch(reject);
  });
  const csr = await shop.insert();
  const { role: tenant } = await shop.database.login('acme_app');
  await add(shop.sql, 'event', { event: 'issued', tenant, csr_id: csr });
  // An open transaction of a minute ago is nobody's business.
  expect(await rows()).toEqual([]);
  for (const [age, severity] of [
    ['10 minutes', 'warning'],
    ['2 hours', 'critical'],
  ] as const) {
    await set(shop.sql, 'event', { csr_id: csr }, { at: ago(age) });
    const [row, ...others] = await rows();
    expect(others).toEqual([]);
    expect(row).toMatchObject({ severity, code: 'changes_frozen' });
    const login = `${shop.database.name}_forgetful`;
    // Whole by itself: the line of pgacme status --check shows no column since.
    expect(row?.sentence).toMatch(
      new RegExp(
        `^A transaction of process ${pid} \\(login ${login}, database \\w+\\) is still open, .* since \\d{4}-\\S+ \\d\\d:\\d\\d `,
      ),
    );
    expect(row?.what_to_do).toMatch(
      new RegExp(
        `^As a superuser: select pg_terminate_backend\\(${pid}\\); .*: (alter role ${login} set idle_in_transaction_session_timeout = '5min';)$`,
      ),
    );
  }
  statement = /alter role .*/.exec((await rows())[0]?.what_to_do ?? '')?.[0] ?? '';
  await shop.sql`update acme.attention_settings set changes_critical = '1 day'`;
  expect((await rows())[0]?.severity, "its threshold is an administrator's").toBe('warning');
  await shop.sql`update acme.attention_settings set changes_warning = '1 day'`;
  expect(await rows()).toEqual([]);
  await shop.sql`delete from acme.attention_settings`;
  await shop.sql`insert into acme.attention_settings default values`;
  const lines = await findings({
    DATABASE_URL: (await shop.database.login('acme_worker')).url,
    PGACME_SECRET_KEY: randomBytes(32).toString('base64'),
  });
  expect(lines.join('\n')).toMatch(new RegExp(`Attention: problem: .*process ${pid} `));
  expect(lines.join('\n')).toMatch(/Sessions: warning: Nothing ends a transaction .*_forgetful/);

  await shop.sql.unsafe(statement);
  const [bounded] = await shop.sql<[{ logins: string[] }]>`
    select acme_private.unbounded_logins('0') as logins`;
  expect(bounded.logins).not.toContain(`${shop.database.name}_forgetful`);
  for (const end of ends) end();
});

test('no login but one of acme_owner reads it, and only workers ask for logins without an end', async () => {
  for (const role of ['acme_app', 'acme_reader', 'acme_admin', 'acme_responder', 'acme_worker']) {
    const login = await shop.database.as(role);
    await expect(login`select * from acme_private.attention_session`, role).rejects.toMatchObject({
      code: '42501',
    });
    if (role === 'acme_worker') continue;
    await expect(login`select acme_private.unbounded_logins('0')`, role).rejects.toMatchObject({
      code: '42501',
    });
  }
});
