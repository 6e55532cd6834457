/* A background worker, for tests: it stays in a database until it is told to end, and comes back or does not.

   Its kind and the setting are pg_cron's, whose scheduler ends with 0 (up to 1.5) or is started again. */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/guc.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void worker_main(Datum argument);
void _PG_init(void);

static char *database;
static bool comes_back;
static volatile sig_atomic_t is_to_end = false;

static void
note(SIGNAL_ARGS)
{
	is_to_end = true;
	SetLatch(MyLatch);
}

void
worker_main(Datum argument)
{
	pqsignal(SIGTERM, note);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(database, NULL, 0);
	while (!is_to_end)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 1000L, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	proc_exit(comes_back ? 1 : 0);
}

void
_PG_init(void)
{
	BackgroundWorker worker = {0};

	DefineCustomStringVariable("cron.database_name", "Where it works.", NULL, &database, "postgres", PGC_POSTMASTER,
							   GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
	DefineCustomBoolVariable("cron.comes_back", "Whether it does.", NULL, &comes_back, false, PGC_POSTMASTER, 0, NULL,
							 NULL, NULL);
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = 1;
	snprintf(worker.bgw_library_name, BGW_MAXLEN, "%s", "snapkit_test_worker");
	snprintf(worker.bgw_function_name, BGW_MAXLEN, "worker_main");
	snprintf(worker.bgw_name, BGW_MAXLEN, "pg_cron launcher");
	snprintf(worker.bgw_type, BGW_MAXLEN, "pg_cron launcher");
	RegisterBackgroundWorker(&worker);
}
