#define rand	pan_rand
#define pthread_equal(a,b)	((a)==(b))
#if defined(HAS_CODE) && defined(VERBOSE)
	#ifdef BFS_PAR
		bfs_printf("Pr: %d Tr: %d\n", II, t->forw);
	#else
		cpu_printf("Pr: %d Tr: %d\n", II, t->forw);
	#endif
#endif
	switch (t->forw) {
	default: Uerror("bad forward move");
	case 0:	/* if without executable clauses */
		continue;
	case 1: /* generic 'goto' or 'skip' */
		IfNotBlocked
		_m = 3; goto P999;
	case 2: /* generic 'else' */
		IfNotBlocked
		if (trpt->o_pm&1) continue;
		_m = 3; goto P999;

		 /* PROC :init: */
	case 3: // STATE 1 - lease.pml:479 - [entry = (2+1)] (0:0:1 - 1)
		IfNotBlocked
		reached[5][1] = 1;
		(trpt+1)->bup.oval = ((int)now.entry);
		now.entry = (2+1);
#ifdef VAR_RANGES
		logval("entry", ((int)now.entry));
#endif
		;
		_m = 3; goto P999; /* 0 */
	case 4: // STATE 2 - lease.pml:480 - [entry = (2+1)] (0:12:2 - 1)
		IfNotBlocked
		reached[5][2] = 1;
		(trpt+1)->bup.ovals = grab_ints(2);
		(trpt+1)->bup.ovals[0] = ((int)now.entry);
		now.entry = (2+1);
#ifdef VAR_RANGES
		logval("entry", ((int)now.entry));
#endif
		;
		/* merge: fresh = 1(12, 3, 12) */
		reached[5][3] = 1;
		(trpt+1)->bup.ovals[1] = ((int)now.fresh);
		now.fresh = 1;
#ifdef VAR_RANGES
		logval("fresh", ((int)now.fresh));
#endif
		;
		/* merge: .(goto)(0, 6, 12) */
		reached[5][6] = 1;
		;
		/* merge: .(goto)(0, 13, 12) */
		reached[5][13] = 1;
		;
		_m = 3; goto P999; /* 3 */
	case 5: // STATE 7 - lease.pml:484 - [((n<=2))] (0:0:0 - 1)
		IfNotBlocked
		reached[5][7] = 1;
		if (!((((int)((P5 *)_this)->n)<=2)))
			continue;
		_m = 3; goto P999; /* 0 */
	case 6: // STATE 8 - lease.pml:484 - [(run caller(n))] (0:0:0 - 1)
		IfNotBlocked
		reached[5][8] = 1;
		if (!(addproc(II, 1, 3, ((int)((P5 *)_this)->n))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 7: // STATE 9 - lease.pml:484 - [n = (n+1)] (0:0:1 - 1)
		IfNotBlocked
		reached[5][9] = 1;
		(trpt+1)->bup.oval = ((int)((P5 *)_this)->n);
		((P5 *)_this)->n = (((int)((P5 *)_this)->n)+1);
#ifdef VAR_RANGES
		logval(":init::n", ((int)((P5 *)_this)->n));
#endif
		;
		_m = 3; goto P999; /* 0 */
	case 8: // STATE 15 - lease.pml:487 - [n = 0] (0:0:1 - 1)
		IfNotBlocked
		reached[5][15] = 1;
		(trpt+1)->bup.oval = ((int)((P5 *)_this)->n);
		((P5 *)_this)->n = 0;
#ifdef VAR_RANGES
		logval(":init::n", ((int)((P5 *)_this)->n));
#endif
		;
		_m = 3; goto P999; /* 0 */
	case 9: // STATE 17 - lease.pml:493 - [-end-] (0:0:0 - 1)
		IfNotBlocked
		reached[5][17] = 1;
		if (!delproc(1, II)) continue;
		_m = 3; goto P999; /* 0 */

		 /* PROC joiner */
	case 10: // STATE 1 - lease.pml:464 - [(joinable)] (11:0:1 - 1)
		IfNotBlocked
		reached[4][1] = 1;
		if (!(((int)now.joinable)))
			continue;
		/* merge: before = invalidated(0, 2, 11) */
		reached[4][2] = 1;
		(trpt+1)->bup.oval = ((int)((P4 *)_this)->before);
		((P4 *)_this)->before = ((int)now.invalidated);
#ifdef VAR_RANGES
		logval("joiner:before", ((int)((P4 *)_this)->before));
#endif
		;
		_m = 3; goto P999; /* 1 */
	case 11: // STATE 4 - lease.pml:467 - [((outcome==1))] (0:0:0 - 1)
		IfNotBlocked
		reached[4][4] = 1;
		if (!((((int)now.outcome)==1)))
			continue;
		_m = 3; goto P999; /* 0 */
	case 12: // STATE 5 - lease.pml:467 - [{c_code28}] (0:0:0 - 1)
		IfNotBlocked
		reached[4][5] = 1;
		/* c_code28 */
		{ 
		sv_save(); static int before; if (!before++) printf("reached: %s\n", "join: nothing that joiners may have");  }

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
;
		_m = 3; goto P999; /* 0 */
	case 13: // STATE 10 - lease.pml:472 - [.(goto)] (0:12:0 - 2)
		IfNotBlocked
		reached[4][10] = 1;
		;
		_m = 3; goto P999; /* 0 */
	case 14: // STATE 6 - lease.pml:468 - [((outcome>=(2+0)))] (0:0:0 - 1)
		IfNotBlocked
		reached[4][6] = 1;
		if (!((((int)now.outcome)>=(2+0))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 15: // STATE 7 - lease.pml:469 - [{c_code29}] (0:0:0 - 1)
		IfNotBlocked
		reached[4][7] = 1;
		/* c_code29 */
		{ 
		sv_save(); static int before; if (!before++) printf("reached: %s\n", "join: the result is shared");  }

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
;
		_m = 3; goto P999; /* 0 */
	case 16: // STATE 8 - lease.pml:470 - [assert((((0!=0)&&(0!=1))||((outcome-(2+0))>=before)))] (0:12:0 - 1)
		IfNotBlocked
		reached[4][8] = 1;
		spin_assert((((0!=0)&&(0!=1))||((((int)now.outcome)-(2+0))>=((int)((P4 *)_this)->before))), "(((0!=0)&&(0!=1))||((outcome-(2+0))>=before))", II, tt, t);
		/* merge: .(goto)(12, 10, 12) */
		reached[4][10] = 1;
		;
		_m = 3; goto P999; /* 1 */
	case 17: // STATE 12 - lease.pml:473 - [-end-] (0:0:0 - 1)
		IfNotBlocked
		reached[4][12] = 1;
		if (!delproc(1, II)) continue;
		_m = 3; goto P999; /* 0 */

		 /* PROC caller */
	case 18: // STATE 1 - lease.pml:359 - [((entry!=0))] (10:0:1 - 1)
		IfNotBlocked
		reached[3][1] = 1;
		if (!((((int)now.entry)!=0)))
			continue;
		/* merge: assert((((0!=0)&&(0!=1))||(version>=invalidated)))(10, 2, 10) */
		reached[3][2] = 1;
		spin_assert((((0!=0)&&(0!=1))||(((int)now.version)>=((int)now.invalidated))), "(((0!=0)&&(0!=1))||(version>=invalidated))", II, tt, t);
		/* merge: saw = entry(10, 3, 10) */
		reached[3][3] = 1;
		(trpt+1)->bup.oval = ((int)((P3 *)_this)->saw);
		((P3 *)_this)->saw = ((int)now.entry);
#ifdef VAR_RANGES
		logval("caller:saw", ((int)((P3 *)_this)->saw));
#endif
		;
		_m = 3; goto P999; /* 2 */
	case 19: // STATE 4 - lease.pml:363 - [(fresh)] (288:0:0 - 1)
		IfNotBlocked
		reached[3][4] = 1;
		if (!(((int)now.fresh)))
			continue;
		/* merge: goto over(0, 5, 288) */
		reached[3][5] = 1;
		;
		_m = 3; goto P999; /* 1 */
	case 20: // STATE 11 - lease.pml:367 - [.(goto)] (0:28:0 - 2)
		IfNotBlocked
		reached[3][11] = 1;
		;
		/* merge: .(goto)(28, 16, 28) */
		reached[3][16] = 1;
		;
		_m = 3; goto P999; /* 1 */
	case 21: // STATE 6 - lease.pml:364 - [(!(fresh))] (28:0:1 - 1)
		IfNotBlocked
		reached[3][6] = 1;
		if (!( !(((int)now.fresh))))
			continue;
		/* merge: servable = 1(28, 7, 28) */
		reached[3][7] = 1;
		(trpt+1)->bup.oval = ((int)((P3 *)_this)->servable);
		((P3 *)_this)->servable = 1;
#ifdef VAR_RANGES
		logval("caller:servable", ((int)((P3 *)_this)->servable));
#endif
		;
		/* merge: .(goto)(28, 11, 28) */
		reached[3][11] = 1;
		;
		/* merge: .(goto)(28, 16, 28) */
		reached[3][16] = 1;
		;
		_m = 3; goto P999; /* 3 */
	case 22: // STATE 8 - lease.pml:365 - [(!(fresh))] (0:0:0 - 1)
		IfNotBlocked
		reached[3][8] = 1;
		if (!( !(((int)now.fresh))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 23: // STATE 9 - lease.pml:365 - [{c_code11}] (0:0:0 - 1)
		IfNotBlocked
		reached[3][9] = 1;
		/* c_code11 */
		{ 
		sv_save(); static int before; if (!before++) printf("reached: %s\n", "lookup: an entry too old for this caller's options");  }

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
;
		_m = 3; goto P999; /* 0 */
	case 24: // STATE 16 - lease.pml:370 - [.(goto)] (0:28:0 - 3)
		IfNotBlocked
		reached[3][16] = 1;
		;
		_m = 3; goto P999; /* 0 */
	case 25: // STATE 12 - lease.pml:367 - [((entry==0))] (28:0:1 - 1)
		IfNotBlocked
		reached[3][12] = 1;
		if (!((((int)now.entry)==0)))
			continue;
		/* merge: saw = 0(28, 13, 28) */
		reached[3][13] = 1;
		(trpt+1)->bup.oval = ((int)((P3 *)_this)->saw);
		((P3 *)_this)->saw = 0;
#ifdef VAR_RANGES
		logval("caller:saw", ((int)((P3 *)_this)->saw));
#endif
		;
		/* merge: .(goto)(28, 16, 28) */
		reached[3][16] = 1;
		;
		_m = 3; goto P999; /* 2 */
	case 26: // STATE 14 - lease.pml:368 - [saw = 63] (0:28:1 - 1)
		IfNotBlocked
		reached[3][14] = 1;
		(trpt+1)->bup.oval = ((int)((P3 *)_this)->saw);
		((P3 *)_this)->saw = 63;
#ifdef VAR_RANGES
		logval("caller:saw", ((int)((P3 *)_this)->saw));
#endif
		;
		/* merge: .(goto)(28, 16, 28) */
		reached[3][16] = 1;
		;
		_m = 3; goto P999; /* 1 */
	case 27: // STATE 18 - lease.pml:285 - [(1)] (128:0:0 - 1)
		IfNotBlocked
		reached[3][18] = 1;
		if (!(1))
			continue;
		/* merge: .(goto)(128, 26, 128) */
		reached[3][26] = 1;
		;
		_m = 3; goto P999; /* 1 */
	case 28: // STATE 26 - lease.pml:288 - [.(goto)] (0:128:0 - 2)
		IfNotBlocked
		reached[3][26] = 1;
		;
		_m = 3; goto P999; /* 0 */
	case 29: // STATE 19 - lease.pml:286 - [(nfull(wire[0]))] (0:0:0 - 1)
		IfNotBlocked
		reached[3][19] = 1;
		if (!((!q_full(now.wire[0]))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 30: // STATE 20 - lease.pml:264 - [(nfull(wire[0]))] (0:0:0 - 1)
		IfNotBlocked
		reached[3][20] = 1;
		if (!((!q_full(now.wire[0]))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 31: // STATE 21 - lease.pml:264 - [wire[0]!6,((2*me)+0),saw,servable,0] (128:0:0 - 1)
		IfNotBlocked
		reached[3][21] = 1;
		if (q_full(now.wire[0]))
			continue;
#ifdef HAS_CODE
		if (readtrail && gui) {
			char simtmp[64];
			sprintf(simvals, "%d!", now.wire[0]);
		sprintf(simtmp, "%d", 6); strcat(simvals, simtmp);		strcat(simvals, ",");
		sprintf(simtmp, "%d", ((2*((int)((P3 *)_this)->me))+0)); strcat(simvals, simtmp);		strcat(simvals, ",");
		sprintf(simtmp, "%d", ((int)((P3 *)_this)->saw)); strcat(simvals, simtmp);		strcat(simvals, ",");
		sprintf(simtmp, "%d", ((int)((P3 *)_this)->servable)); strcat(simvals, simtmp);		strcat(simvals, ",");
		sprintf(simtmp, "%d", 0); strcat(simvals, simtmp);		}
#endif
		
		qsend(now.wire[0], 0, 6, ((2*((int)((P3 *)_this)->me))+0), ((int)((P3 *)_this)->saw), ((int)((P3 *)_this)->servable), 0, 5);
		/* merge: .(goto)(128, 23, 128) */
		reached[3][23] = 1;
		;
		/* merge: .(goto)(128, 26, 128) */
		reached[3][26] = 1;
		;
		_m = 2; goto P999; /* 2 */
	case 32: // STATE 29 - lease.pml:148 - [((((lock!=0)&&!((lock>=64)))&&((lock/2)==(((2*me)+1)/2))))] (0:0:0 - 1)
		IfNotBlocked
		reached[3][29] = 1;
		if (!((((((int)now.lock)!=0)&& !((((int)now.lock)>=64)))&&((((int)now.lock)/2)==(((2*((int)((P3 *)_this)->me))+1)/2)))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 33: // STATE 30 - lease.pml:150 - [{c_code12}] (0:0:0 - 1)
		IfNotBlocked
		reached[3][30] = 1;
		/* c_code12 */
		{ 
		sv_save(); static int before; if (!before++) printf("reached: %s\n", "acquire: it was granted before");  }

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
;
		_m = 3; goto P999; /* 0 */
	case 34: // STATE 31 - lease.pml:152 - [((((2*me)+1)>lock))] (126:0:2 - 1)
		IfNotBlocked
		reached[3][31] = 1;
		if (!((((2*((int)((P3 *)_this)->me))+1)>((int)now.lock))))
			continue;
		/* merge: lock = ((2*me)+1)(126, 32, 126) */
		reached[3][32] = 1;
		(trpt+1)->bup.ovals = grab_ints(2);
		(trpt+1)->bup.ovals[0] = ((int)now.lock);
		now.lock = ((2*((int)((P3 *)_this)->me))+1);
#ifdef VAR_RANGES
		logval("lock", ((int)now.lock));
#endif
		;
		/* merge: .(goto)(126, 35, 126) */
		reached[3][35] = 1;
		;
		/* merge: answer = acquired(126, 36, 126) */
		reached[3][36] = 1;
		(trpt+1)->bup.ovals[1] = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 10;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(0, 63, 126) */
		reached[3][63] = 1;
		;
		/* merge: .(goto)(0, 110, 126) */
		reached[3][110] = 1;
		;
		_m = 3; goto P999; /* 5 */
	case 35: // STATE 36 - lease.pml:155 - [answer = acquired] (0:126:1 - 3)
		IfNotBlocked
		reached[3][36] = 1;
		(trpt+1)->bup.oval = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 10;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(0, 63, 126) */
		reached[3][63] = 1;
		;
		/* merge: .(goto)(0, 110, 126) */
		reached[3][110] = 1;
		;
		_m = 3; goto P999; /* 2 */
	case 36: // STATE 37 - lease.pml:156 - [((!((((lock!=0)&&!((lock>=64)))&&((lock/2)==(((2*me)+1)/2))))&&(((saw!=63)&&(entry!=0))&&(entry!=saw))))] (0:0:1 - 1)
		IfNotBlocked
		reached[3][37] = 1;
		if (!(( !((((((int)now.lock)!=0)&& !((((int)now.lock)>=64)))&&((((int)now.lock)/2)==(((2*((int)((P3 *)_this)->me))+1)/2))))&&(((((int)((P3 *)_this)->saw)!=63)&&(((int)now.entry)!=0))&&(((int)now.entry)!=((int)((P3 *)_this)->saw))))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 37: // STATE 38 - lease.pml:157 - [{c_code13}] (0:0:0 - 1)
		IfNotBlocked
		reached[3][38] = 1;
		/* c_code13 */
		{ 
		sv_save(); static int before; if (!before++) printf("reached: %s\n", "acquire: the entry is one that the caller did not see");  }

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
;
		_m = 3; goto P999; /* 0 */
	case 38: // STATE 39 - lease.pml:158 - [answer = changed] (0:0:1 - 1)
		IfNotBlocked
		reached[3][39] = 1;
		(trpt+1)->bup.oval = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 8;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		_m = 3; goto P999; /* 0 */
	case 39: // STATE 41 - lease.pml:161 - [((lock==0))] (0:0:0 - 1)
		IfNotBlocked
		reached[3][41] = 1;
		if (!((((int)now.lock)==0)))
			continue;
		_m = 3; goto P999; /* 0 */
	case 40: // STATE 42 - lease.pml:139 - [assert((((0!=0)&&(0!=3))||(holder==0)))] (0:126:4 - 1)
		IfNotBlocked
		reached[3][42] = 1;
		spin_assert((((0!=0)&&(0!=3))||(((int)now.holder)==0)), "(((0!=0)&&(0!=3))||(holder==0))", II, tt, t);
		/* merge: assert((((0!=0)&&(0!=4))||((saw==63)||!((entry&&fresh)))))(126, 43, 126) */
		reached[3][43] = 1;
		spin_assert((((0!=0)&&(0!=4))||((((int)((P3 *)_this)->saw)==63)|| !((((int)now.entry)&&((int)now.fresh))))), "(((0!=0)&&(0!=4))||((saw==63)|| !((entry&&fresh))))", II, tt, t);
		/* merge: lock = ((2*me)+1)(126, 44, 126) */
		reached[3][44] = 1;
		(trpt+1)->bup.ovals = grab_ints(4);
		(trpt+1)->bup.ovals[0] = ((int)now.lock);
		now.lock = ((2*((int)((P3 *)_this)->me))+1);
#ifdef VAR_RANGES
		logval("lock", ((int)now.lock));
#endif
		;
		/* merge: holder = (((2*me)+1)/2)(126, 45, 126) */
		reached[3][45] = 1;
		(trpt+1)->bup.ovals[1] = ((int)now.holder);
		now.holder = (((2*((int)((P3 *)_this)->me))+1)/2);
#ifdef VAR_RANGES
		logval("holder", ((int)now.holder));
#endif
		;
		/* merge: resting = 0(126, 46, 126) */
		reached[3][46] = 1;
		(trpt+1)->bup.ovals[2] = ((int)now.resting);
		now.resting = 0;
#ifdef VAR_RANGES
		logval("resting", ((int)now.resting));
#endif
		;
		/* merge: answer = acquired(126, 48, 126) */
		reached[3][48] = 1;
		(trpt+1)->bup.ovals[3] = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 10;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(0, 61, 126) */
		reached[3][61] = 1;
		;
		/* merge: .(goto)(0, 63, 126) */
		reached[3][63] = 1;
		;
		/* merge: .(goto)(0, 110, 126) */
		reached[3][110] = 1;
		;
		_m = 3; goto P999; /* 8 */
	case 41: // STATE 49 - lease.pml:164 - [(((lock>=64)&&(((saw==63)||(entry==0))||!(servable))))] (0:0:0 - 1)
		IfNotBlocked
		reached[3][49] = 1;
		if (!(((((int)now.lock)>=64)&&(((((int)((P3 *)_this)->saw)==63)||(((int)now.entry)==0))|| !(((int)((P3 *)_this)->servable))))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 42: // STATE 50 - lease.pml:165 - [{c_code14}] (0:0:0 - 1)
		IfNotBlocked
		reached[3][50] = 1;
		/* c_code14 */
		{ 
		sv_save(); static int before; if (!before++) printf("reached: %s\n", "acquire: a cooldown with nothing to serve is taken over");  }

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
;
		_m = 3; goto P999; /* 0 */
	case 43: // STATE 51 - lease.pml:139 - [assert((((0!=0)&&(0!=3))||(holder==0)))] (0:126:4 - 1)
		IfNotBlocked
		reached[3][51] = 1;
		spin_assert((((0!=0)&&(0!=3))||(((int)now.holder)==0)), "(((0!=0)&&(0!=3))||(holder==0))", II, tt, t);
		/* merge: assert((((0!=0)&&(0!=4))||((saw==63)||!((entry&&fresh)))))(126, 52, 126) */
		reached[3][52] = 1;
		spin_assert((((0!=0)&&(0!=4))||((((int)((P3 *)_this)->saw)==63)|| !((((int)now.entry)&&((int)now.fresh))))), "(((0!=0)&&(0!=4))||((saw==63)|| !((entry&&fresh))))", II, tt, t);
		/* merge: lock = ((2*me)+1)(126, 53, 126) */
		reached[3][53] = 1;
		(trpt+1)->bup.ovals = grab_ints(4);
		(trpt+1)->bup.ovals[0] = ((int)now.lock);
		now.lock = ((2*((int)((P3 *)_this)->me))+1);
#ifdef VAR_RANGES
		logval("lock", ((int)now.lock));
#endif
		;
		/* merge: holder = (((2*me)+1)/2)(126, 54, 126) */
		reached[3][54] = 1;
		(trpt+1)->bup.ovals[1] = ((int)now.holder);
		now.holder = (((2*((int)((P3 *)_this)->me))+1)/2);
#ifdef VAR_RANGES
		logval("holder", ((int)now.holder));
#endif
		;
		/* merge: resting = 0(126, 55, 126) */
		reached[3][55] = 1;
		(trpt+1)->bup.ovals[2] = ((int)now.resting);
		now.resting = 0;
#ifdef VAR_RANGES
		logval("resting", ((int)now.resting));
#endif
		;
		/* merge: answer = acquired(126, 57, 126) */
		reached[3][57] = 1;
		(trpt+1)->bup.ovals[3] = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 10;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(0, 61, 126) */
		reached[3][61] = 1;
		;
		/* merge: .(goto)(0, 63, 126) */
		reached[3][63] = 1;
		;
		/* merge: .(goto)(0, 110, 126) */
		reached[3][110] = 1;
		;
		_m = 3; goto P999; /* 8 */
	case 44: // STATE 59 - lease.pml:169 - [answer = held] (0:0:1 - 1)
		IfNotBlocked
		reached[3][59] = 1;
		(trpt+1)->bup.oval = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 9;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		_m = 3; goto P999; /* 0 */
	case 45: // STATE 65 - lease.pml:148 - [((((lock!=0)&&!((lock>=64)))&&((lock/2)==(((2*me)+1)/2))))] (0:0:0 - 1)
		IfNotBlocked
		reached[3][65] = 1;
		if (!((((((int)now.lock)!=0)&& !((((int)now.lock)>=64)))&&((((int)now.lock)/2)==(((2*((int)((P3 *)_this)->me))+1)/2)))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 46: // STATE 66 - lease.pml:150 - [{c_code15}] (0:0:0 - 1)
		IfNotBlocked
		reached[3][66] = 1;
		/* c_code15 */
		{ 
		sv_save(); static int before; if (!before++) printf("reached: %s\n", "acquire: it was granted before");  }

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
;
		_m = 3; goto P999; /* 0 */
	case 47: // STATE 67 - lease.pml:152 - [((((2*me)+1)>lock))] (126:0:4 - 1)
		IfNotBlocked
		reached[3][67] = 1;
		if (!((((2*((int)((P3 *)_this)->me))+1)>((int)now.lock))))
			continue;
		/* merge: lock = ((2*me)+1)(126, 68, 126) */
		reached[3][68] = 1;
		(trpt+1)->bup.ovals = grab_ints(4);
		(trpt+1)->bup.ovals[0] = ((int)now.lock);
		now.lock = ((2*((int)((P3 *)_this)->me))+1);
#ifdef VAR_RANGES
		logval("lock", ((int)now.lock));
#endif
		;
		/* merge: .(goto)(126, 71, 126) */
		reached[3][71] = 1;
		;
		/* merge: answer = acquired(126, 72, 126) */
		reached[3][72] = 1;
		(trpt+1)->bup.ovals[1] = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 10;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(126, 99, 126) */
		reached[3][99] = 1;
		;
		/* merge: answer = 0(126, 101, 126) */
		reached[3][101] = 1;
		(trpt+1)->bup.ovals[2] = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 0;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(0, 110, 126) */
		reached[3][110] = 1;
		;
		_m = 3; goto P999; /* 6 */
	case 48: // STATE 72 - lease.pml:155 - [answer = acquired] (0:126:3 - 3)
		IfNotBlocked
		reached[3][72] = 1;
		(trpt+1)->bup.ovals = grab_ints(3);
		(trpt+1)->bup.ovals[0] = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 10;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(126, 99, 126) */
		reached[3][99] = 1;
		;
		/* merge: answer = 0(126, 101, 126) */
		reached[3][101] = 1;
		(trpt+1)->bup.ovals[1] = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 0;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(0, 110, 126) */
		reached[3][110] = 1;
		;
		_m = 3; goto P999; /* 3 */
	case 49: // STATE 73 - lease.pml:156 - [((!((((lock!=0)&&!((lock>=64)))&&((lock/2)==(((2*me)+1)/2))))&&(((saw!=63)&&(entry!=0))&&(entry!=saw))))] (0:0:1 - 1)
		IfNotBlocked
		reached[3][73] = 1;
		if (!(( !((((((int)now.lock)!=0)&& !((((int)now.lock)>=64)))&&((((int)now.lock)/2)==(((2*((int)((P3 *)_this)->me))+1)/2))))&&(((((int)((P3 *)_this)->saw)!=63)&&(((int)now.entry)!=0))&&(((int)now.entry)!=((int)((P3 *)_this)->saw))))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 50: // STATE 74 - lease.pml:157 - [{c_code16}] (0:0:0 - 1)
		IfNotBlocked
		reached[3][74] = 1;
		/* c_code16 */
		{ 
		sv_save(); static int before; if (!before++) printf("reached: %s\n", "acquire: the entry is one that the caller did not see");  }

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
;
		_m = 3; goto P999; /* 0 */
	case 51: // STATE 75 - lease.pml:158 - [answer = changed] (0:126:3 - 1)
		IfNotBlocked
		reached[3][75] = 1;
		(trpt+1)->bup.ovals = grab_ints(3);
		(trpt+1)->bup.ovals[0] = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 8;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(126, 99, 126) */
		reached[3][99] = 1;
		;
		/* merge: answer = 0(126, 101, 126) */
		reached[3][101] = 1;
		(trpt+1)->bup.ovals[1] = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 0;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(0, 110, 126) */
		reached[3][110] = 1;
		;
		_m = 3; goto P999; /* 3 */
	case 52: // STATE 77 - lease.pml:161 - [((lock==0))] (0:0:0 - 1)
		IfNotBlocked
		reached[3][77] = 1;
		if (!((((int)now.lock)==0)))
			continue;
		_m = 3; goto P999; /* 0 */
	case 53: // STATE 78 - lease.pml:139 - [assert((((0!=0)&&(0!=3))||(holder==0)))] (0:126:6 - 1)
		IfNotBlocked
		reached[3][78] = 1;
		spin_assert((((0!=0)&&(0!=3))||(((int)now.holder)==0)), "(((0!=0)&&(0!=3))||(holder==0))", II, tt, t);
		/* merge: assert((((0!=0)&&(0!=4))||((saw==63)||!((entry&&fresh)))))(126, 79, 126) */
		reached[3][79] = 1;
		spin_assert((((0!=0)&&(0!=4))||((((int)((P3 *)_this)->saw)==63)|| !((((int)now.entry)&&((int)now.fresh))))), "(((0!=0)&&(0!=4))||((saw==63)|| !((entry&&fresh))))", II, tt, t);
		/* merge: lock = ((2*me)+1)(126, 80, 126) */
		reached[3][80] = 1;
		(trpt+1)->bup.ovals = grab_ints(6);
		(trpt+1)->bup.ovals[0] = ((int)now.lock);
		now.lock = ((2*((int)((P3 *)_this)->me))+1);
#ifdef VAR_RANGES
		logval("lock", ((int)now.lock));
#endif
		;
		/* merge: holder = (((2*me)+1)/2)(126, 81, 126) */
		reached[3][81] = 1;
		(trpt+1)->bup.ovals[1] = ((int)now.holder);
		now.holder = (((2*((int)((P3 *)_this)->me))+1)/2);
#ifdef VAR_RANGES
		logval("holder", ((int)now.holder));
#endif
		;
		/* merge: resting = 0(126, 82, 126) */
		reached[3][82] = 1;
		(trpt+1)->bup.ovals[2] = ((int)now.resting);
		now.resting = 0;
#ifdef VAR_RANGES
		logval("resting", ((int)now.resting));
#endif
		;
		/* merge: answer = acquired(126, 84, 126) */
		reached[3][84] = 1;
		(trpt+1)->bup.ovals[3] = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 10;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(126, 97, 126) */
		reached[3][97] = 1;
		;
		/* merge: .(goto)(126, 99, 126) */
		reached[3][99] = 1;
		;
		/* merge: answer = 0(126, 101, 126) */
		reached[3][101] = 1;
		(trpt+1)->bup.ovals[4] = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 0;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(0, 110, 126) */
		reached[3][110] = 1;
		;
		_m = 3; goto P999; /* 9 */
	case 54: // STATE 85 - lease.pml:164 - [(((lock>=64)&&(((saw==63)||(entry==0))||!(servable))))] (0:0:0 - 1)
		IfNotBlocked
		reached[3][85] = 1;
		if (!(((((int)now.lock)>=64)&&(((((int)((P3 *)_this)->saw)==63)||(((int)now.entry)==0))|| !(((int)((P3 *)_this)->servable))))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 55: // STATE 86 - lease.pml:165 - [{c_code17}] (0:0:0 - 1)
		IfNotBlocked
		reached[3][86] = 1;
		/* c_code17 */
		{ 
		sv_save(); static int before; if (!before++) printf("reached: %s\n", "acquire: a cooldown with nothing to serve is taken over");  }

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
;
		_m = 3; goto P999; /* 0 */
	case 56: // STATE 87 - lease.pml:139 - [assert((((0!=0)&&(0!=3))||(holder==0)))] (0:126:6 - 1)
		IfNotBlocked
		reached[3][87] = 1;
		spin_assert((((0!=0)&&(0!=3))||(((int)now.holder)==0)), "(((0!=0)&&(0!=3))||(holder==0))", II, tt, t);
		/* merge: assert((((0!=0)&&(0!=4))||((saw==63)||!((entry&&fresh)))))(126, 88, 126) */
		reached[3][88] = 1;
		spin_assert((((0!=0)&&(0!=4))||((((int)((P3 *)_this)->saw)==63)|| !((((int)now.entry)&&((int)now.fresh))))), "(((0!=0)&&(0!=4))||((saw==63)|| !((entry&&fresh))))", II, tt, t);
		/* merge: lock = ((2*me)+1)(126, 89, 126) */
		reached[3][89] = 1;
		(trpt+1)->bup.ovals = grab_ints(6);
		(trpt+1)->bup.ovals[0] = ((int)now.lock);
		now.lock = ((2*((int)((P3 *)_this)->me))+1);
#ifdef VAR_RANGES
		logval("lock", ((int)now.lock));
#endif
		;
		/* merge: holder = (((2*me)+1)/2)(126, 90, 126) */
		reached[3][90] = 1;
		(trpt+1)->bup.ovals[1] = ((int)now.holder);
		now.holder = (((2*((int)((P3 *)_this)->me))+1)/2);
#ifdef VAR_RANGES
		logval("holder", ((int)now.holder));
#endif
		;
		/* merge: resting = 0(126, 91, 126) */
		reached[3][91] = 1;
		(trpt+1)->bup.ovals[2] = ((int)now.resting);
		now.resting = 0;
#ifdef VAR_RANGES
		logval("resting", ((int)now.resting));
#endif
		;
		/* merge: answer = acquired(126, 93, 126) */
		reached[3][93] = 1;
		(trpt+1)->bup.ovals[3] = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 10;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(126, 97, 126) */
		reached[3][97] = 1;
		;
		/* merge: .(goto)(126, 99, 126) */
		reached[3][99] = 1;
		;
		/* merge: answer = 0(126, 101, 126) */
		reached[3][101] = 1;
		(trpt+1)->bup.ovals[4] = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 0;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(0, 110, 126) */
		reached[3][110] = 1;
		;
		_m = 3; goto P999; /* 9 */
	case 57: // STATE 95 - lease.pml:169 - [answer = held] (0:126:3 - 1)
		IfNotBlocked
		reached[3][95] = 1;
		(trpt+1)->bup.ovals = grab_ints(3);
		(trpt+1)->bup.ovals[0] = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 9;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(126, 97, 126) */
		reached[3][97] = 1;
		;
		/* merge: .(goto)(126, 99, 126) */
		reached[3][99] = 1;
		;
		/* merge: answer = 0(126, 101, 126) */
		reached[3][101] = 1;
		(trpt+1)->bup.ovals[1] = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 0;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(0, 110, 126) */
		reached[3][110] = 1;
		;
		_m = 3; goto P999; /* 4 */
	case 58: // STATE 101 - lease.pml:377 - [answer = 0] (0:126:1 - 7)
		IfNotBlocked
		reached[3][101] = 1;
		(trpt+1)->bup.oval = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 0;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(0, 110, 126) */
		reached[3][110] = 1;
		;
		_m = 3; goto P999; /* 1 */
	case 59: // STATE 102 - lease.pml:378 - [(nfull(wire[0]))] (0:0:0 - 1)
		IfNotBlocked
		reached[3][102] = 1;
		if (!((!q_full(now.wire[0]))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 60: // STATE 103 - lease.pml:264 - [(nfull(wire[0]))] (0:0:0 - 1)
		IfNotBlocked
		reached[3][103] = 1;
		if (!((!q_full(now.wire[0]))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 61: // STATE 104 - lease.pml:264 - [wire[0]!6,((2*me)+1),saw,servable,0] (126:0:1 - 1)
		IfNotBlocked
		reached[3][104] = 1;
		if (q_full(now.wire[0]))
			continue;
#ifdef HAS_CODE
		if (readtrail && gui) {
			char simtmp[64];
			sprintf(simvals, "%d!", now.wire[0]);
		sprintf(simtmp, "%d", 6); strcat(simvals, simtmp);		strcat(simvals, ",");
		sprintf(simtmp, "%d", ((2*((int)((P3 *)_this)->me))+1)); strcat(simvals, simtmp);		strcat(simvals, ",");
		sprintf(simtmp, "%d", ((int)((P3 *)_this)->saw)); strcat(simvals, simtmp);		strcat(simvals, ",");
		sprintf(simtmp, "%d", ((int)((P3 *)_this)->servable)); strcat(simvals, simtmp);		strcat(simvals, ",");
		sprintf(simtmp, "%d", 0); strcat(simvals, simtmp);		}
#endif
		
		qsend(now.wire[0], 0, 6, ((2*((int)((P3 *)_this)->me))+1), ((int)((P3 *)_this)->saw), ((int)((P3 *)_this)->servable), 0, 5);
		/* merge: .(goto)(126, 106, 126) */
		reached[3][106] = 1;
		;
		/* merge: answer = 0(126, 108, 126) */
		reached[3][108] = 1;
		(trpt+1)->bup.oval = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 0;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(0, 110, 126) */
		reached[3][110] = 1;
		;
		_m = 2; goto P999; /* 3 */
	case 62: // STATE 108 - lease.pml:380 - [answer = 0] (0:126:1 - 2)
		IfNotBlocked
		reached[3][108] = 1;
		(trpt+1)->bup.oval = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 0;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(0, 110, 126) */
		reached[3][110] = 1;
		;
		_m = 3; goto P999; /* 1 */
	case 63: // STATE 111 - lease.pml:383 - [((answer==changed))] (288:0:1 - 1)
		IfNotBlocked
		reached[3][111] = 1;
		if (!((((P3 *)_this)->answer==8)))
			continue;
		/* merge: assert((((0!=0)&&(0!=1))||(version>=invalidated)))(288, 112, 288) */
		reached[3][112] = 1;
		spin_assert((((0!=0)&&(0!=1))||(((int)now.version)>=((int)now.invalidated))), "(((0!=0)&&(0!=1))||(version>=invalidated))", II, tt, t);
		/* merge: goto over(288, 113, 288) */
		reached[3][113] = 1;
		;
		_m = 3; goto P999; /* 2 */
	case 64: // STATE 127 - lease.pml:397 - [.(goto)] (0:132:0 - 2)
		IfNotBlocked
		reached[3][127] = 1;
		;
		_m = 3; goto P999; /* 0 */
	case 65: // STATE 114 - lease.pml:386 - [((answer==held))] (0:0:1 - 1)
		IfNotBlocked
		reached[3][114] = 1;
		if (!((((P3 *)_this)->answer==9)))
			continue;
		_m = 3; goto P999; /* 0 */
	case 66: // STATE 115 - lease.pml:388 - [((servable&&(entry!=0)))] (0:0:1 - 1)
		IfNotBlocked
		reached[3][115] = 1;
		if (!((((int)((P3 *)_this)->servable)&&(((int)now.entry)!=0))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 67: // STATE 116 - lease.pml:388 - [{c_code18}] (0:0:0 - 1)
		IfNotBlocked
		reached[3][116] = 1;
		/* c_code18 */
		{ 
		sv_save(); static int before; if (!before++) printf("reached: %s\n", "serve stale while another computes");  }

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
;
		_m = 3; goto P999; /* 0 */
	case 68: // STATE 118 - lease.pml:389 - [{c_code19}] (0:0:0 - 1)
		IfNotBlocked
		reached[3][118] = 1;
		/* c_code19 */
		{ 
		sv_save(); static int before; if (!before++) printf("reached: %s\n", "refused, or waits: another computes");  }

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
;
		_m = 3; goto P999; /* 0 */
	case 69: // STATE 121 - lease.pml:391 - [goto over] (0:288:0 - 3)
		IfNotBlocked
		reached[3][121] = 1;
		;
		_m = 3; goto P999; /* 0 */
	case 70: // STATE 122 - lease.pml:392 - [((answer==acquired))] (132:0:2 - 1)
		IfNotBlocked
		reached[3][122] = 1;
		if (!((((P3 *)_this)->answer==10)))
			continue;
		/* merge: servable = (servable&&(entry!=0))(132, 123, 132) */
		reached[3][123] = 1;
		(trpt+1)->bup.ovals = grab_ints(2);
		(trpt+1)->bup.ovals[0] = ((int)((P3 *)_this)->servable);
		((P3 *)_this)->servable = (((int)((P3 *)_this)->servable)&&(((int)now.entry)!=0));
#ifdef VAR_RANGES
		logval("caller:servable", ((int)((P3 *)_this)->servable));
#endif
		;
		/* merge: joinable = (joinable||(me==1))(132, 124, 132) */
		reached[3][124] = 1;
		(trpt+1)->bup.ovals[1] = ((int)now.joinable);
		now.joinable = (((int)now.joinable)||(((int)((P3 *)_this)->me)==1));
#ifdef VAR_RANGES
		logval("joinable", ((int)now.joinable));
#endif
		;
		/* merge: .(goto)(132, 127, 132) */
		reached[3][127] = 1;
		;
		_m = 3; goto P999; /* 3 */
	case 71: // STATE 125 - lease.pml:395 - [((answer==0))] (132:0:0 - 1)
		IfNotBlocked
		reached[3][125] = 1;
		if (!((((P3 *)_this)->answer==0)))
			continue;
		/* merge: .(goto)(132, 127, 132) */
		reached[3][127] = 1;
		;
		_m = 3; goto P999; /* 1 */
	case 72: // STATE 129 - lease.pml:399 - [((answer==0))] (0:0:1 - 1)
		IfNotBlocked
		reached[3][129] = 1;
		if (!((((P3 *)_this)->answer==0)))
			continue;
		_m = 3; goto P999; /* 0 */
	case 73: // STATE 131 - lease.pml:400 - [((answer==acquired))] (0:0:1 - 1)
		IfNotBlocked
		reached[3][131] = 1;
		if (!((((P3 *)_this)->answer==10)))
			continue;
		_m = 3; goto P999; /* 0 */
	case 74: // STATE 134 - lease.pml:404 - [result = source] (0:0:1 - 2)
		IfNotBlocked
		reached[3][134] = 1;
		(trpt+1)->bup.oval = ((int)((P3 *)_this)->result);
		((P3 *)_this)->result = ((int)now.source);
#ifdef VAR_RANGES
		logval("caller:result", ((int)((P3 *)_this)->result));
#endif
		;
		_m = 3; goto P999; /* 0 */
	case 75: // STATE 135 - lease.pml:285 - [(1)] (165:0:0 - 1)
		IfNotBlocked
		reached[3][135] = 1;
		if (!(1))
			continue;
		/* merge: .(goto)(165, 143, 165) */
		reached[3][143] = 1;
		;
		_m = 3; goto P999; /* 1 */
	case 76: // STATE 143 - lease.pml:288 - [.(goto)] (0:165:0 - 2)
		IfNotBlocked
		reached[3][143] = 1;
		;
		_m = 3; goto P999; /* 0 */
	case 77: // STATE 136 - lease.pml:286 - [(nfull(wire[0]))] (0:0:0 - 1)
		IfNotBlocked
		reached[3][136] = 1;
		if (!((!q_full(now.wire[0]))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 78: // STATE 137 - lease.pml:264 - [(nfull(wire[0]))] (0:0:0 - 1)
		IfNotBlocked
		reached[3][137] = 1;
		if (!((!q_full(now.wire[0]))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 79: // STATE 138 - lease.pml:264 - [wire[0]!5,((2*me)+1),0,0,0] (165:0:0 - 1)
		IfNotBlocked
		reached[3][138] = 1;
		if (q_full(now.wire[0]))
			continue;
#ifdef HAS_CODE
		if (readtrail && gui) {
			char simtmp[64];
			sprintf(simvals, "%d!", now.wire[0]);
		sprintf(simtmp, "%d", 5); strcat(simvals, simtmp);		strcat(simvals, ",");
		sprintf(simtmp, "%d", ((2*((int)((P3 *)_this)->me))+1)); strcat(simvals, simtmp);		strcat(simvals, ",");
		sprintf(simtmp, "%d", 0); strcat(simvals, simtmp);		strcat(simvals, ",");
		sprintf(simtmp, "%d", 0); strcat(simvals, simtmp);		strcat(simvals, ",");
		sprintf(simtmp, "%d", 0); strcat(simvals, simtmp);		}
#endif
		
		qsend(now.wire[0], 0, 5, ((2*((int)((P3 *)_this)->me))+1), 0, 0, 0, 5);
		/* merge: .(goto)(165, 140, 165) */
		reached[3][140] = 1;
		;
		/* merge: .(goto)(165, 143, 165) */
		reached[3][143] = 1;
		;
		_m = 2; goto P999; /* 2 */
	case 80: // STATE 146 - lease.pml:176 - [((lock==((2*me)+1)))] (163:0:1 - 1)
		IfNotBlocked
		reached[3][146] = 1;
		if (!((((int)now.lock)==((2*((int)((P3 *)_this)->me))+1))))
			continue;
		/* merge: assert((((0!=0)&&(0!=5))||!(resting)))(163, 147, 163) */
		reached[3][147] = 1;
		spin_assert((((0!=0)&&(0!=5))|| !(((int)now.resting))), "(((0!=0)&&(0!=5))|| !(resting))", II, tt, t);
		/* merge: answer = held(163, 148, 163) */
		reached[3][148] = 1;
		(trpt+1)->bup.oval = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 9;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(0, 157, 163) */
		reached[3][157] = 1;
		;
		_m = 3; goto P999; /* 3 */
	case 81: // STATE 150 - lease.pml:181 - [(resting)] (0:0:0 - 1)
		IfNotBlocked
		reached[3][150] = 1;
		if (!(((int)now.resting)))
			continue;
		_m = 3; goto P999; /* 0 */
	case 82: // STATE 151 - lease.pml:181 - [{c_code20}] (0:0:0 - 1)
		IfNotBlocked
		reached[3][151] = 1;
		/* c_code20 */
		{ 
		sv_save(); static int before; if (!before++) printf("reached: %s\n", "renew: too late, the lease is a cooldown");  }

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
;
		_m = 3; goto P999; /* 0 */
	case 83: // STATE 155 - lease.pml:184 - [answer = lost] (0:163:1 - 3)
		IfNotBlocked
		reached[3][155] = 1;
		(trpt+1)->bup.oval = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 7;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(0, 157, 163) */
		reached[3][157] = 1;
		;
		_m = 3; goto P999; /* 1 */
	case 84: // STATE 159 - lease.pml:410 - [((answer==lost))] (0:0:0 - 1)
		IfNotBlocked
		reached[3][159] = 1;
		if (!((((P3 *)_this)->answer==7)))
			continue;
		_m = 3; goto P999; /* 0 */
	case 85: // STATE 160 - lease.pml:411 - [{c_code21}] (0:0:0 - 1)
		IfNotBlocked
		reached[3][160] = 1;
		/* c_code21 */
		{ 
		sv_save(); static int before; if (!before++) printf("reached: %s\n", "renew: lost");  }

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
;
		_m = 3; goto P999; /* 0 */
	case 86: // STATE 171 - lease.pml:424 - [joinable = (joinable&&(me!=1))] (0:0:1 - 1)
		IfNotBlocked
		reached[3][171] = 1;
		(trpt+1)->bup.oval = ((int)now.joinable);
		now.joinable = (((int)now.joinable)&&(((int)((P3 *)_this)->me)!=1));
#ifdef VAR_RANGES
		logval("joinable", ((int)now.joinable));
#endif
		;
		_m = 3; goto P999; /* 0 */
	case 87: // STATE 173 - lease.pml:285 - [(1)] (208:0:0 - 1)
		IfNotBlocked
		reached[3][173] = 1;
		if (!(1))
			continue;
		/* merge: .(goto)(208, 181, 208) */
		reached[3][181] = 1;
		;
		_m = 3; goto P999; /* 1 */
	case 88: // STATE 181 - lease.pml:288 - [.(goto)] (0:208:0 - 2)
		IfNotBlocked
		reached[3][181] = 1;
		;
		_m = 3; goto P999; /* 0 */
	case 89: // STATE 174 - lease.pml:286 - [(nfull(wire[0]))] (0:0:0 - 1)
		IfNotBlocked
		reached[3][174] = 1;
		if (!((!q_full(now.wire[0]))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 90: // STATE 175 - lease.pml:264 - [(nfull(wire[0]))] (0:0:0 - 1)
		IfNotBlocked
		reached[3][175] = 1;
		if (!((!q_full(now.wire[0]))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 91: // STATE 176 - lease.pml:264 - [wire[0]!4,((2*me)+1),0,0,result] (208:0:0 - 1)
		IfNotBlocked
		reached[3][176] = 1;
		if (q_full(now.wire[0]))
			continue;
#ifdef HAS_CODE
		if (readtrail && gui) {
			char simtmp[64];
			sprintf(simvals, "%d!", now.wire[0]);
		sprintf(simtmp, "%d", 4); strcat(simvals, simtmp);		strcat(simvals, ",");
		sprintf(simtmp, "%d", ((2*((int)((P3 *)_this)->me))+1)); strcat(simvals, simtmp);		strcat(simvals, ",");
		sprintf(simtmp, "%d", 0); strcat(simvals, simtmp);		strcat(simvals, ",");
		sprintf(simtmp, "%d", 0); strcat(simvals, simtmp);		strcat(simvals, ",");
		sprintf(simtmp, "%d", ((int)((P3 *)_this)->result)); strcat(simvals, simtmp);		}
#endif
		
		qsend(now.wire[0], 0, 4, ((2*((int)((P3 *)_this)->me))+1), 0, 0, ((int)((P3 *)_this)->result), 5);
		/* merge: .(goto)(208, 178, 208) */
		reached[3][178] = 1;
		;
		/* merge: .(goto)(208, 181, 208) */
		reached[3][181] = 1;
		;
		_m = 2; goto P999; /* 2 */
	case 92: // STATE 184 - lease.pml:190 - [((entry==(((2*me)+1)/2)))] (0:0:0 - 1)
		IfNotBlocked
		reached[3][184] = 1;
		if (!((((int)now.entry)==(((2*((int)((P3 *)_this)->me))+1)/2))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 93: // STATE 185 - lease.pml:191 - [{c_code22}] (0:0:0 - 1)
		IfNotBlocked
		reached[3][185] = 1;
		/* c_code22 */
		{ 
		sv_save(); static int before; if (!before++) printf("reached: %s\n", "store: it was stored before");  }

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
;
		_m = 3; goto P999; /* 0 */
	case 94: // STATE 186 - lease.pml:192 - [answer = held] (0:287:1 - 1)
		IfNotBlocked
		reached[3][186] = 1;
		(trpt+1)->bup.oval = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 9;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(287, 206, 287) */
		reached[3][206] = 1;
		;
		/* merge: .(goto)(0, 248, 287) */
		reached[3][248] = 1;
		;
		/* merge: goto finish(0, 249, 287) */
		reached[3][249] = 1;
		;
		_m = 3; goto P999; /* 3 */
	case 95: // STATE 206 - lease.pml:207 - [.(goto)] (0:287:0 - 3)
		IfNotBlocked
		reached[3][206] = 1;
		;
		/* merge: .(goto)(0, 248, 287) */
		reached[3][248] = 1;
		;
		/* merge: goto finish(0, 249, 287) */
		reached[3][249] = 1;
		;
		_m = 3; goto P999; /* 2 */
	case 96: // STATE 187 - lease.pml:193 - [(((entry!=(((2*me)+1)/2))&&(lock==((2*me)+1))))] (195:0:3 - 1)
		IfNotBlocked
		reached[3][187] = 1;
		if (!(((((int)now.entry)!=(((2*((int)((P3 *)_this)->me))+1)/2))&&(((int)now.lock)==((2*((int)((P3 *)_this)->me))+1)))))
			continue;
		/* merge: assert((((0!=0)&&(0!=2))||(holder==(((2*me)+1)/2))))(195, 188, 195) */
		reached[3][188] = 1;
		spin_assert((((0!=0)&&(0!=2))||(((int)now.holder)==(((2*((int)((P3 *)_this)->me))+1)/2))), "(((0!=0)&&(0!=2))||(holder==(((2*me)+1)/2)))", II, tt, t);
		/* merge: entry = (((2*me)+1)/2)(195, 189, 195) */
		reached[3][189] = 1;
		(trpt+1)->bup.ovals = grab_ints(3);
		(trpt+1)->bup.ovals[0] = ((int)now.entry);
		now.entry = (((2*((int)((P3 *)_this)->me))+1)/2);
#ifdef VAR_RANGES
		logval("entry", ((int)now.entry));
#endif
		;
		/* merge: version = result(195, 190, 195) */
		reached[3][190] = 1;
		(trpt+1)->bup.ovals[1] = ((int)now.version);
		now.version = ((int)((P3 *)_this)->result);
#ifdef VAR_RANGES
		logval("version", ((int)now.version));
#endif
		;
		/* merge: fresh = 1(195, 191, 195) */
		reached[3][191] = 1;
		(trpt+1)->bup.ovals[2] = ((int)now.fresh);
		now.fresh = 1;
#ifdef VAR_RANGES
		logval("fresh", ((int)now.fresh));
#endif
		;
		_m = 3; goto P999; /* 4 */
	case 97: // STATE 192 - lease.pml:244 - [lock = 0] (0:287:4 - 1)
		IfNotBlocked
		reached[3][192] = 1;
		(trpt+1)->bup.ovals = grab_ints(4);
		(trpt+1)->bup.ovals[0] = ((int)now.lock);
		now.lock = 0;
#ifdef VAR_RANGES
		logval("lock", ((int)now.lock));
#endif
		;
		/* merge: holder = 0(287, 193, 287) */
		reached[3][193] = 1;
		(trpt+1)->bup.ovals[1] = ((int)now.holder);
		now.holder = 0;
#ifdef VAR_RANGES
		logval("holder", ((int)now.holder));
#endif
		;
		/* merge: resting = 0(287, 194, 287) */
		reached[3][194] = 1;
		(trpt+1)->bup.ovals[2] = ((int)now.resting);
		now.resting = 0;
#ifdef VAR_RANGES
		logval("resting", ((int)now.resting));
#endif
		;
		/* merge: answer = held(287, 196, 287) */
		reached[3][196] = 1;
		(trpt+1)->bup.ovals[3] = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 9;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(287, 206, 287) */
		reached[3][206] = 1;
		;
		/* merge: .(goto)(0, 248, 287) */
		reached[3][248] = 1;
		;
		/* merge: goto finish(0, 249, 287) */
		reached[3][249] = 1;
		;
		_m = 3; goto P999; /* 6 */
	case 98: // STATE 198 - lease.pml:202 - [((lock==0))] (0:0:0 - 1)
		IfNotBlocked
		reached[3][198] = 1;
		if (!((((int)now.lock)==0)))
			continue;
		_m = 3; goto P999; /* 0 */
	case 99: // STATE 199 - lease.pml:202 - [{c_code23}] (0:0:0 - 1)
		IfNotBlocked
		reached[3][199] = 1;
		/* c_code23 */
		{ 
		sv_save(); static int before; if (!before++) printf("reached: %s\n", "store: lost, and the lock is free");  }

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
;
		_m = 3; goto P999; /* 0 */
	case 100: // STATE 200 - lease.pml:203 - [((lock!=0))] (0:0:0 - 1)
		IfNotBlocked
		reached[3][200] = 1;
		if (!((((int)now.lock)!=0)))
			continue;
		_m = 3; goto P999; /* 0 */
	case 101: // STATE 201 - lease.pml:203 - [{c_code24}] (0:0:0 - 1)
		IfNotBlocked
		reached[3][201] = 1;
		/* c_code24 */
		{ 
		sv_save(); static int before; if (!before++) printf("reached: %s\n", "store: lost to another holder");  }

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
;
		_m = 3; goto P999; /* 0 */
	case 102: // STATE 204 - lease.pml:205 - [answer = lost] (0:287:1 - 3)
		IfNotBlocked
		reached[3][204] = 1;
		(trpt+1)->bup.oval = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 7;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(287, 206, 287) */
		reached[3][206] = 1;
		;
		/* merge: .(goto)(0, 248, 287) */
		reached[3][248] = 1;
		;
		/* merge: goto finish(0, 249, 287) */
		reached[3][249] = 1;
		;
		_m = 3; goto P999; /* 3 */
	case 103: // STATE 209 - lease.pml:429 - [(nfull(wire[0]))] (0:0:0 - 1)
		IfNotBlocked
		reached[3][209] = 1;
		if (!((!q_full(now.wire[0]))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 104: // STATE 210 - lease.pml:264 - [(nfull(wire[0]))] (0:0:0 - 1)
		IfNotBlocked
		reached[3][210] = 1;
		if (!((!q_full(now.wire[0]))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 105: // STATE 211 - lease.pml:264 - [wire[0]!4,((2*me)+1),0,0,result] (260:0:2 - 1)
		IfNotBlocked
		reached[3][211] = 1;
		if (q_full(now.wire[0]))
			continue;
#ifdef HAS_CODE
		if (readtrail && gui) {
			char simtmp[64];
			sprintf(simvals, "%d!", now.wire[0]);
		sprintf(simtmp, "%d", 4); strcat(simvals, simtmp);		strcat(simvals, ",");
		sprintf(simtmp, "%d", ((2*((int)((P3 *)_this)->me))+1)); strcat(simvals, simtmp);		strcat(simvals, ",");
		sprintf(simtmp, "%d", 0); strcat(simvals, simtmp);		strcat(simvals, ",");
		sprintf(simtmp, "%d", 0); strcat(simvals, simtmp);		strcat(simvals, ",");
		sprintf(simtmp, "%d", ((int)((P3 *)_this)->result)); strcat(simvals, simtmp);		}
#endif
		
		qsend(now.wire[0], 0, 4, ((2*((int)((P3 *)_this)->me))+1), 0, 0, ((int)((P3 *)_this)->result), 5);
		/* merge: .(goto)(260, 213, 260) */
		reached[3][213] = 1;
		;
		/* merge: answer = lost(260, 215, 260) */
		reached[3][215] = 1;
		(trpt+1)->bup.ovals = grab_ints(2);
		(trpt+1)->bup.ovals[0] = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 7;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		/* merge: goto give_back(0, 217, 260) */
		reached[3][217] = 1;
		;
		_m = 2; goto P999; /* 3 */
	case 106: // STATE 218 - lease.pml:434 - [(servable)] (0:0:1 - 1)
		IfNotBlocked
		reached[3][218] = 1;
		if (!(((int)((P3 *)_this)->servable)))
			continue;
		_m = 3; goto P999; /* 0 */
	case 107: // STATE 219 - lease.pml:285 - [(1)] (244:0:0 - 1)
		IfNotBlocked
		reached[3][219] = 1;
		if (!(1))
			continue;
		/* merge: .(goto)(244, 227, 244) */
		reached[3][227] = 1;
		;
		_m = 3; goto P999; /* 1 */
	case 108: // STATE 227 - lease.pml:288 - [.(goto)] (0:244:0 - 2)
		IfNotBlocked
		reached[3][227] = 1;
		;
		_m = 3; goto P999; /* 0 */
	case 109: // STATE 220 - lease.pml:286 - [(nfull(wire[0]))] (0:0:0 - 1)
		IfNotBlocked
		reached[3][220] = 1;
		if (!((!q_full(now.wire[0]))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 110: // STATE 221 - lease.pml:264 - [(nfull(wire[0]))] (0:0:0 - 1)
		IfNotBlocked
		reached[3][221] = 1;
		if (!((!q_full(now.wire[0]))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 111: // STATE 222 - lease.pml:264 - [wire[0]!3,((2*me)+1),0,0,0] (244:0:0 - 1)
		IfNotBlocked
		reached[3][222] = 1;
		if (q_full(now.wire[0]))
			continue;
#ifdef HAS_CODE
		if (readtrail && gui) {
			char simtmp[64];
			sprintf(simvals, "%d!", now.wire[0]);
		sprintf(simtmp, "%d", 3); strcat(simvals, simtmp);		strcat(simvals, ",");
		sprintf(simtmp, "%d", ((2*((int)((P3 *)_this)->me))+1)); strcat(simvals, simtmp);		strcat(simvals, ",");
		sprintf(simtmp, "%d", 0); strcat(simvals, simtmp);		strcat(simvals, ",");
		sprintf(simtmp, "%d", 0); strcat(simvals, simtmp);		strcat(simvals, ",");
		sprintf(simtmp, "%d", 0); strcat(simvals, simtmp);		}
#endif
		
		qsend(now.wire[0], 0, 3, ((2*((int)((P3 *)_this)->me))+1), 0, 0, 0, 5);
		/* merge: .(goto)(244, 224, 244) */
		reached[3][224] = 1;
		;
		/* merge: .(goto)(244, 227, 244) */
		reached[3][227] = 1;
		;
		_m = 2; goto P999; /* 2 */
	case 112: // STATE 230 - lease.pml:211 - [((lock==(64+((2*me)+1))))] (0:0:0 - 1)
		IfNotBlocked
		reached[3][230] = 1;
		if (!((((int)now.lock)==(64+((2*((int)((P3 *)_this)->me))+1)))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 113: // STATE 231 - lease.pml:212 - [{c_code25}] (0:0:0 - 1)
		IfNotBlocked
		reached[3][231] = 1;
		/* c_code25 */
		{ 
		sv_save(); static int before; if (!before++) printf("reached: %s\n", "cool down: it was done before");  }

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
;
		_m = 3; goto P999; /* 0 */
	case 114: // STATE 232 - lease.pml:213 - [answer = held] (0:287:3 - 1)
		IfNotBlocked
		reached[3][232] = 1;
		(trpt+1)->bup.ovals = grab_ints(3);
		(trpt+1)->bup.ovals[0] = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 9;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(287, 242, 287) */
		reached[3][242] = 1;
		;
		/* merge: answer = lost(287, 245, 287) */
		reached[3][245] = 1;
		(trpt+1)->bup.ovals[1] = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 7;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(0, 248, 287) */
		reached[3][248] = 1;
		;
		/* merge: goto finish(0, 249, 287) */
		reached[3][249] = 1;
		;
		_m = 3; goto P999; /* 4 */
	case 115: // STATE 242 - lease.pml:225 - [.(goto)] (0:287:1 - 3)
		IfNotBlocked
		reached[3][242] = 1;
		;
		/* merge: answer = lost(287, 245, 287) */
		reached[3][245] = 1;
		(trpt+1)->bup.oval = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 7;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(0, 248, 287) */
		reached[3][248] = 1;
		;
		/* merge: goto finish(0, 249, 287) */
		reached[3][249] = 1;
		;
		_m = 3; goto P999; /* 3 */
	case 116: // STATE 233 - lease.pml:214 - [(((lock!=(64+((2*me)+1)))&&(lock==((2*me)+1))))] (287:0:6 - 1)
		IfNotBlocked
		reached[3][233] = 1;
		if (!(((((int)now.lock)!=(64+((2*((int)((P3 *)_this)->me))+1)))&&(((int)now.lock)==((2*((int)((P3 *)_this)->me))+1)))))
			continue;
		/* merge: lock = (64+((2*me)+1))(287, 234, 287) */
		reached[3][234] = 1;
		(trpt+1)->bup.ovals = grab_ints(6);
		(trpt+1)->bup.ovals[0] = ((int)now.lock);
		now.lock = (64+((2*((int)((P3 *)_this)->me))+1));
#ifdef VAR_RANGES
		logval("lock", ((int)now.lock));
#endif
		;
		/* merge: holder = 0(287, 235, 287) */
		reached[3][235] = 1;
		(trpt+1)->bup.ovals[1] = ((int)now.holder);
		now.holder = 0;
#ifdef VAR_RANGES
		logval("holder", ((int)now.holder));
#endif
		;
		/* merge: resting = 1(287, 236, 287) */
		reached[3][236] = 1;
		(trpt+1)->bup.ovals[2] = ((int)now.resting);
		now.resting = 1;
#ifdef VAR_RANGES
		logval("resting", ((int)now.resting));
#endif
		;
		/* merge: answer = held(287, 237, 287) */
		reached[3][237] = 1;
		(trpt+1)->bup.ovals[3] = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 9;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(287, 242, 287) */
		reached[3][242] = 1;
		;
		/* merge: answer = lost(287, 245, 287) */
		reached[3][245] = 1;
		(trpt+1)->bup.ovals[4] = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 7;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(0, 248, 287) */
		reached[3][248] = 1;
		;
		/* merge: goto finish(0, 249, 287) */
		reached[3][249] = 1;
		;
		_m = 3; goto P999; /* 8 */
	case 117: // STATE 239 - lease.pml:222 - [{c_code26}] (0:0:0 - 1)
		IfNotBlocked
		reached[3][239] = 1;
		/* c_code26 */
		{ 
		sv_save(); static int before; if (!before++) printf("reached: %s\n", "cool down: lost");  }

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
;
		_m = 3; goto P999; /* 0 */
	case 118: // STATE 240 - lease.pml:223 - [answer = lost] (0:287:3 - 1)
		IfNotBlocked
		reached[3][240] = 1;
		(trpt+1)->bup.ovals = grab_ints(3);
		(trpt+1)->bup.ovals[0] = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 7;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(287, 242, 287) */
		reached[3][242] = 1;
		;
		/* merge: answer = lost(287, 245, 287) */
		reached[3][245] = 1;
		(trpt+1)->bup.ovals[1] = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 7;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(0, 248, 287) */
		reached[3][248] = 1;
		;
		/* merge: goto finish(0, 249, 287) */
		reached[3][249] = 1;
		;
		_m = 3; goto P999; /* 4 */
	case 119: // STATE 250 - lease.pml:285 - [(1)] (276:0:0 - 1)
		IfNotBlocked
		reached[3][250] = 1;
		if (!(1))
			continue;
		/* merge: .(goto)(276, 258, 276) */
		reached[3][258] = 1;
		;
		_m = 3; goto P999; /* 1 */
	case 120: // STATE 258 - lease.pml:288 - [.(goto)] (0:276:0 - 2)
		IfNotBlocked
		reached[3][258] = 1;
		;
		_m = 3; goto P999; /* 0 */
	case 121: // STATE 251 - lease.pml:286 - [(nfull(wire[0]))] (0:0:0 - 1)
		IfNotBlocked
		reached[3][251] = 1;
		if (!((!q_full(now.wire[0]))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 122: // STATE 252 - lease.pml:264 - [(nfull(wire[0]))] (0:0:0 - 1)
		IfNotBlocked
		reached[3][252] = 1;
		if (!((!q_full(now.wire[0]))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 123: // STATE 253 - lease.pml:264 - [wire[0]!2,((2*me)+1),0,0,0] (276:0:0 - 1)
		IfNotBlocked
		reached[3][253] = 1;
		if (q_full(now.wire[0]))
			continue;
#ifdef HAS_CODE
		if (readtrail && gui) {
			char simtmp[64];
			sprintf(simvals, "%d!", now.wire[0]);
		sprintf(simtmp, "%d", 2); strcat(simvals, simtmp);		strcat(simvals, ",");
		sprintf(simtmp, "%d", ((2*((int)((P3 *)_this)->me))+1)); strcat(simvals, simtmp);		strcat(simvals, ",");
		sprintf(simtmp, "%d", 0); strcat(simvals, simtmp);		strcat(simvals, ",");
		sprintf(simtmp, "%d", 0); strcat(simvals, simtmp);		strcat(simvals, ",");
		sprintf(simtmp, "%d", 0); strcat(simvals, simtmp);		}
#endif
		
		qsend(now.wire[0], 0, 2, ((2*((int)((P3 *)_this)->me))+1), 0, 0, 0, 5);
		/* merge: .(goto)(276, 255, 276) */
		reached[3][255] = 1;
		;
		/* merge: .(goto)(276, 258, 276) */
		reached[3][258] = 1;
		;
		_m = 2; goto P999; /* 2 */
	case 124: // STATE 261 - lease.pml:229 - [((((lock!=0)&&!((lock>=64)))&&((lock/2)==(((2*me)+1)/2))))] (267:0:2 - 1)
		IfNotBlocked
		reached[3][261] = 1;
		if (!((((((int)now.lock)!=0)&& !((((int)now.lock)>=64)))&&((((int)now.lock)/2)==(((2*((int)((P3 *)_this)->me))+1)/2)))))
			continue;
		/* merge: lock = 0(267, 262, 267) */
		reached[3][262] = 1;
		(trpt+1)->bup.ovals = grab_ints(2);
		(trpt+1)->bup.ovals[0] = ((int)now.lock);
		now.lock = 0;
#ifdef VAR_RANGES
		logval("lock", ((int)now.lock));
#endif
		;
		/* merge: resting = 0(267, 263, 267) */
		reached[3][263] = 1;
		(trpt+1)->bup.ovals[1] = ((int)now.resting);
		now.resting = 0;
#ifdef VAR_RANGES
		logval("resting", ((int)now.resting));
#endif
		;
		_m = 3; goto P999; /* 2 */
	case 125: // STATE 264 - lease.pml:233 - [((holder==(((2*me)+1)/2)))] (287:0:4 - 1)
		IfNotBlocked
		reached[3][264] = 1;
		if (!((((int)now.holder)==(((2*((int)((P3 *)_this)->me))+1)/2))))
			continue;
		/* merge: holder = 0(287, 265, 287) */
		reached[3][265] = 1;
		(trpt+1)->bup.ovals = grab_ints(4);
		(trpt+1)->bup.ovals[0] = ((int)now.holder);
		now.holder = 0;
#ifdef VAR_RANGES
		logval("holder", ((int)now.holder));
#endif
		;
		/* merge: .(goto)(287, 268, 287) */
		reached[3][268] = 1;
		;
		/* merge: answer = held(287, 269, 287) */
		reached[3][269] = 1;
		(trpt+1)->bup.ovals[1] = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 9;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(287, 274, 287) */
		reached[3][274] = 1;
		;
		/* merge: answer = lost(287, 277, 287) */
		reached[3][277] = 1;
		(trpt+1)->bup.ovals[2] = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 7;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		_m = 3; goto P999; /* 5 */
	case 126: // STATE 269 - lease.pml:236 - [answer = held] (0:287:3 - 3)
		IfNotBlocked
		reached[3][269] = 1;
		(trpt+1)->bup.ovals = grab_ints(3);
		(trpt+1)->bup.ovals[0] = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 9;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(287, 274, 287) */
		reached[3][274] = 1;
		;
		/* merge: answer = lost(287, 277, 287) */
		reached[3][277] = 1;
		(trpt+1)->bup.ovals[1] = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 7;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		_m = 3; goto P999; /* 2 */
	case 127: // STATE 274 - lease.pml:241 - [.(goto)] (0:287:1 - 2)
		IfNotBlocked
		reached[3][274] = 1;
		;
		/* merge: answer = lost(287, 277, 287) */
		reached[3][277] = 1;
		(trpt+1)->bup.oval = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 7;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		_m = 3; goto P999; /* 1 */
	case 128: // STATE 271 - lease.pml:238 - [{c_code27}] (0:0:0 - 1)
		IfNotBlocked
		reached[3][271] = 1;
		/* c_code27 */
		{ 
		sv_save(); static int before; if (!before++) printf("reached: %s\n", "release: lost");  }

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
;
		_m = 3; goto P999; /* 0 */
	case 129: // STATE 272 - lease.pml:239 - [answer = lost] (0:287:3 - 1)
		IfNotBlocked
		reached[3][272] = 1;
		(trpt+1)->bup.ovals = grab_ints(3);
		(trpt+1)->bup.ovals[0] = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 7;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(287, 274, 287) */
		reached[3][274] = 1;
		;
		/* merge: answer = lost(287, 277, 287) */
		reached[3][277] = 1;
		(trpt+1)->bup.ovals[1] = ((P3 *)_this)->answer;
		((P3 *)_this)->answer = 7;
#ifdef VAR_RANGES
		logval("caller:answer", ((P3 *)_this)->answer);
#endif
		;
		_m = 3; goto P999; /* 2 */
	case 130: // STATE 278 - lease.pml:452 - [(((me==1)&&(answer==held)))] (288:0:4 - 1)
		IfNotBlocked
		reached[3][278] = 1;
		if (!(((((int)((P3 *)_this)->me)==1)&&(((P3 *)_this)->answer==9))))
			continue;
		/* merge: outcome = (2+result)(288, 279, 288) */
		reached[3][279] = 1;
		(trpt+1)->bup.ovals = grab_ints(4);
		(trpt+1)->bup.ovals[0] = ((int)now.outcome);
		now.outcome = (2+((int)((P3 *)_this)->result));
#ifdef VAR_RANGES
		logval("outcome", ((int)now.outcome));
#endif
		;
		/* merge: joinable = 0(288, 280, 288) */
		reached[3][280] = 1;
		(trpt+1)->bup.ovals[1] = ((int)now.joinable);
		now.joinable = 0;
#ifdef VAR_RANGES
		logval("joinable", ((int)now.joinable));
#endif
		;
		/* merge: .(goto)(288, 286, 288) */
		reached[3][286] = 1;
		;
		_m = 3; goto P999; /* 3 */
	case 131: // STATE 286 - lease.pml:456 - [.(goto)] (0:288:0 - 3)
		IfNotBlocked
		reached[3][286] = 1;
		;
		_m = 3; goto P999; /* 0 */
	case 132: // STATE 281 - lease.pml:453 - [(((me==1)&&(answer!=held)))] (288:0:4 - 1)
		IfNotBlocked
		reached[3][281] = 1;
		if (!(((((int)((P3 *)_this)->me)==1)&&(((P3 *)_this)->answer!=9))))
			continue;
		/* merge: outcome = 1(288, 282, 288) */
		reached[3][282] = 1;
		(trpt+1)->bup.ovals = grab_ints(4);
		(trpt+1)->bup.ovals[0] = ((int)now.outcome);
		now.outcome = 1;
#ifdef VAR_RANGES
		logval("outcome", ((int)now.outcome));
#endif
		;
		/* merge: joinable = 0(288, 283, 288) */
		reached[3][283] = 1;
		(trpt+1)->bup.ovals[1] = ((int)now.joinable);
		now.joinable = 0;
#ifdef VAR_RANGES
		logval("joinable", ((int)now.joinable));
#endif
		;
		/* merge: .(goto)(288, 286, 288) */
		reached[3][286] = 1;
		;
		_m = 3; goto P999; /* 3 */
	case 133: // STATE 289 - lease.pml:458 - [ended = (ended+1)] (0:0:1 - 2)
		IfNotBlocked
		reached[3][289] = 1;
		(trpt+1)->bup.oval = ((int)now.ended);
		now.ended = (((int)now.ended)+1);
#ifdef VAR_RANGES
		logval("ended", ((int)now.ended));
#endif
		;
		_m = 3; goto P999; /* 0 */
	case 134: // STATE 290 - lease.pml:459 - [-end-] (0:0:0 - 1)
		IfNotBlocked
		reached[3][290] = 1;
		if (!delproc(1, II)) continue;
		_m = 3; goto P999; /* 0 */

		 /* PROC writer */
	case 135: // STATE 1 - lease.pml:339 - [((source<1))] (0:0:0 - 1)
		IfNotBlocked
		reached[2][1] = 1;
		if (!((((int)now.source)<1)))
			continue;
		_m = 3; goto P999; /* 0 */
	case 136: // STATE 2 - lease.pml:340 - [source = (source+1)] (0:0:1 - 1)
		IfNotBlocked
		reached[2][2] = 1;
		(trpt+1)->bup.oval = ((int)now.source);
		now.source = (((int)now.source)+1);
#ifdef VAR_RANGES
		logval("source", ((int)now.source));
#endif
		;
		_m = 3; goto P999; /* 0 */
	case 137: // STATE 3 - lease.pml:285 - [(1)] (23:0:0 - 1)
		IfNotBlocked
		reached[2][3] = 1;
		if (!(1))
			continue;
		/* merge: .(goto)(23, 11, 23) */
		reached[2][11] = 1;
		;
		_m = 3; goto P999; /* 1 */
	case 138: // STATE 11 - lease.pml:288 - [.(goto)] (0:23:0 - 2)
		IfNotBlocked
		reached[2][11] = 1;
		;
		_m = 3; goto P999; /* 0 */
	case 139: // STATE 4 - lease.pml:286 - [(nfull(wire[0]))] (0:0:0 - 1)
		IfNotBlocked
		reached[2][4] = 1;
		if (!((!q_full(now.wire[0]))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 140: // STATE 5 - lease.pml:264 - [(nfull(wire[0]))] (0:0:0 - 1)
		IfNotBlocked
		reached[2][5] = 1;
		if (!((!q_full(now.wire[0]))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 141: // STATE 6 - lease.pml:264 - [wire[0]!1,0,0,0,0] (23:0:0 - 1)
		IfNotBlocked
		reached[2][6] = 1;
		if (q_full(now.wire[0]))
			continue;
#ifdef HAS_CODE
		if (readtrail && gui) {
			char simtmp[64];
			sprintf(simvals, "%d!", now.wire[0]);
		sprintf(simtmp, "%d", 1); strcat(simvals, simtmp);		strcat(simvals, ",");
		sprintf(simtmp, "%d", 0); strcat(simvals, simtmp);		strcat(simvals, ",");
		sprintf(simtmp, "%d", 0); strcat(simvals, simtmp);		strcat(simvals, ",");
		sprintf(simtmp, "%d", 0); strcat(simvals, simtmp);		strcat(simvals, ",");
		sprintf(simtmp, "%d", 0); strcat(simvals, simtmp);		}
#endif
		
		qsend(now.wire[0], 0, 1, 0, 0, 0, 0, 5);
		/* merge: .(goto)(23, 8, 23) */
		reached[2][8] = 1;
		;
		/* merge: .(goto)(23, 11, 23) */
		reached[2][11] = 1;
		;
		_m = 2; goto P999; /* 2 */
	case 142: // STATE 14 - lease.pml:250 - [entry = 0] (0:20:3 - 1)
		IfNotBlocked
		reached[2][14] = 1;
		(trpt+1)->bup.ovals = grab_ints(3);
		(trpt+1)->bup.ovals[0] = ((int)now.entry);
		now.entry = 0;
#ifdef VAR_RANGES
		logval("entry", ((int)now.entry));
#endif
		;
		/* merge: version = 0(20, 15, 20) */
		reached[2][15] = 1;
		(trpt+1)->bup.ovals[1] = ((int)now.version);
		now.version = 0;
#ifdef VAR_RANGES
		logval("version", ((int)now.version));
#endif
		;
		/* merge: fresh = 0(20, 16, 20) */
		reached[2][16] = 1;
		(trpt+1)->bup.ovals[2] = ((int)now.fresh);
		now.fresh = 0;
#ifdef VAR_RANGES
		logval("fresh", ((int)now.fresh));
#endif
		;
		_m = 3; goto P999; /* 2 */
	case 143: // STATE 17 - lease.pml:244 - [lock = 0] (0:26:4 - 1)
		IfNotBlocked
		reached[2][17] = 1;
		(trpt+1)->bup.ovals = grab_ints(4);
		(trpt+1)->bup.ovals[0] = ((int)now.lock);
		now.lock = 0;
#ifdef VAR_RANGES
		logval("lock", ((int)now.lock));
#endif
		;
		/* merge: holder = 0(26, 18, 26) */
		reached[2][18] = 1;
		(trpt+1)->bup.ovals[1] = ((int)now.holder);
		now.holder = 0;
#ifdef VAR_RANGES
		logval("holder", ((int)now.holder));
#endif
		;
		/* merge: resting = 0(26, 19, 26) */
		reached[2][19] = 1;
		(trpt+1)->bup.ovals[2] = ((int)now.resting);
		now.resting = 0;
#ifdef VAR_RANGES
		logval("resting", ((int)now.resting));
#endif
		;
		/* merge: invalidated = source(26, 22, 26) */
		reached[2][22] = 1;
		(trpt+1)->bup.ovals[3] = ((int)now.invalidated);
		now.invalidated = ((int)now.source);
#ifdef VAR_RANGES
		logval("invalidated", ((int)now.invalidated));
#endif
		;
		/* merge: .(goto)(0, 27, 26) */
		reached[2][27] = 1;
		;
		_m = 3; goto P999; /* 4 */
	case 144: // STATE 29 - lease.pml:345 - [-end-] (0:0:0 - 3)
		IfNotBlocked
		reached[2][29] = 1;
		if (!delproc(1, II)) continue;
		_m = 3; goto P999; /* 0 */

		 /* PROC time */
	case 145: // STATE 1 - lease.pml:322 - [((lock!=0))] (0:0:0 - 1)
		IfNotBlocked
		reached[1][1] = 1;
		if (!((((int)now.lock)!=0)))
			continue;
		_m = 3; goto P999; /* 0 */
	case 146: // STATE 2 - lease.pml:324 - [(((lock/2)==1))] (10:0:1 - 1)
		IfNotBlocked
		reached[1][2] = 1;
		if (!(((((int)now.lock)/2)==1)))
			continue;
		/* merge: joinable = 0(0, 3, 10) */
		reached[1][3] = 1;
		(trpt+1)->bup.oval = ((int)now.joinable);
		now.joinable = 0;
#ifdef VAR_RANGES
		logval("joinable", ((int)now.joinable));
#endif
		;
		/* merge: .(goto)(0, 6, 10) */
		reached[1][6] = 1;
		;
		_m = 3; goto P999; /* 2 */
	case 147: // STATE 7 - lease.pml:244 - [lock = 0] (0:20:3 - 1)
		IfNotBlocked
		reached[1][7] = 1;
		(trpt+1)->bup.ovals = grab_ints(3);
		(trpt+1)->bup.ovals[0] = ((int)now.lock);
		now.lock = 0;
#ifdef VAR_RANGES
		logval("lock", ((int)now.lock));
#endif
		;
		/* merge: holder = 0(20, 8, 20) */
		reached[1][8] = 1;
		(trpt+1)->bup.ovals[1] = ((int)now.holder);
		now.holder = 0;
#ifdef VAR_RANGES
		logval("holder", ((int)now.holder));
#endif
		;
		/* merge: resting = 0(20, 9, 20) */
		reached[1][9] = 1;
		(trpt+1)->bup.ovals[2] = ((int)now.resting);
		now.resting = 0;
#ifdef VAR_RANGES
		logval("resting", ((int)now.resting));
#endif
		;
		/* merge: .(goto)(0, 21, 20) */
		reached[1][21] = 1;
		;
		_m = 3; goto P999; /* 3 */
	case 148: // STATE 12 - lease.pml:330 - [(((entry!=0)&&fresh))] (20:0:1 - 1)
		IfNotBlocked
		reached[1][12] = 1;
		if (!(((((int)now.entry)!=0)&&((int)now.fresh))))
			continue;
		/* merge: fresh = 0(0, 13, 20) */
		reached[1][13] = 1;
		(trpt+1)->bup.oval = ((int)now.fresh);
		now.fresh = 0;
#ifdef VAR_RANGES
		logval("fresh", ((int)now.fresh));
#endif
		;
		/* merge: .(goto)(0, 21, 20) */
		reached[1][21] = 1;
		;
		_m = 3; goto P999; /* 2 */
	case 149: // STATE 15 - lease.pml:331 - [((entry!=0))] (20:0:3 - 1)
		IfNotBlocked
		reached[1][15] = 1;
		if (!((((int)now.entry)!=0)))
			continue;
		/* merge: entry = 0(20, 16, 20) */
		reached[1][16] = 1;
		(trpt+1)->bup.ovals = grab_ints(3);
		(trpt+1)->bup.ovals[0] = ((int)now.entry);
		now.entry = 0;
#ifdef VAR_RANGES
		logval("entry", ((int)now.entry));
#endif
		;
		/* merge: version = 0(20, 17, 20) */
		reached[1][17] = 1;
		(trpt+1)->bup.ovals[1] = ((int)now.version);
		now.version = 0;
#ifdef VAR_RANGES
		logval("version", ((int)now.version));
#endif
		;
		/* merge: fresh = 0(20, 18, 20) */
		reached[1][18] = 1;
		(trpt+1)->bup.ovals[2] = ((int)now.fresh);
		now.fresh = 0;
#ifdef VAR_RANGES
		logval("fresh", ((int)now.fresh));
#endif
		;
		/* merge: .(goto)(0, 21, 20) */
		reached[1][21] = 1;
		;
		_m = 3; goto P999; /* 4 */
	case 150: // STATE 23 - lease.pml:333 - [-end-] (0:0:0 - 1)
		IfNotBlocked
		reached[1][23] = 1;
		if (!delproc(1, II)) continue;
		_m = 3; goto P999; /* 0 */

		 /* PROC wires */
	case 151: // STATE 1 - lease.pml:310 - [(nempty(wire[0]))] (0:0:0 - 1)
		IfNotBlocked
		reached[0][1] = 1;
		if (!((q_len(now.wire[0])>0)))
			continue;
		_m = 3; goto P999; /* 0 */
	case 152: // STATE 2 - lease.pml:293 - [wire[0]?verb,t,saw,servable,result] (0:0:5 - 1)
		reached[0][2] = 1;
		if (q_len(now.wire[0]) == 0) continue;

		XX=1;
		(trpt+1)->bup.ovals = grab_ints(5);
		(trpt+1)->bup.ovals[0] = ((P0 *)_this)->verb;
		(trpt+1)->bup.ovals[1] = ((int)((P0 *)_this)->t);
		(trpt+1)->bup.ovals[2] = ((int)((P0 *)_this)->saw);
		(trpt+1)->bup.ovals[3] = ((int)((P0 *)_this)->servable);
		(trpt+1)->bup.ovals[4] = ((int)((P0 *)_this)->result);
		;
		((P0 *)_this)->verb = qrecv(now.wire[0], XX-1, 0, 0);
#ifdef VAR_RANGES
		logval("wires:verb", ((P0 *)_this)->verb);
#endif
		;
		((P0 *)_this)->t = qrecv(now.wire[0], XX-1, 1, 0);
#ifdef VAR_RANGES
		logval("wires:t", ((int)((P0 *)_this)->t));
#endif
		;
		((P0 *)_this)->saw = qrecv(now.wire[0], XX-1, 2, 0);
#ifdef VAR_RANGES
		logval("wires:saw", ((int)((P0 *)_this)->saw));
#endif
		;
		((P0 *)_this)->servable = qrecv(now.wire[0], XX-1, 3, 0);
#ifdef VAR_RANGES
		logval("wires:servable", ((int)((P0 *)_this)->servable));
#endif
		;
		((P0 *)_this)->result = qrecv(now.wire[0], XX-1, 4, 1);
#ifdef VAR_RANGES
		logval("wires:result", ((int)((P0 *)_this)->result));
#endif
		;
		
#ifdef HAS_CODE
		if (readtrail && gui) {
			char simtmp[32];
			sprintf(simvals, "%d?", now.wire[0]);
		sprintf(simtmp, "%d", ((P0 *)_this)->verb); strcat(simvals, simtmp);		strcat(simvals, ",");
		sprintf(simtmp, "%d", ((int)((P0 *)_this)->t)); strcat(simvals, simtmp);		strcat(simvals, ",");
		sprintf(simtmp, "%d", ((int)((P0 *)_this)->saw)); strcat(simvals, simtmp);		strcat(simvals, ",");
		sprintf(simtmp, "%d", ((int)((P0 *)_this)->servable)); strcat(simvals, simtmp);		strcat(simvals, ",");
		sprintf(simtmp, "%d", ((int)((P0 *)_this)->result)); strcat(simvals, simtmp);		}
#endif
		;
		_m = 4; goto P999; /* 0 */
	case 153: // STATE 3 - lease.pml:295 - [((verb==acquire))] (0:0:1 - 1)
		IfNotBlocked
		reached[0][3] = 1;
		if (!((((P0 *)_this)->verb==6)))
			continue;
		_m = 3; goto P999; /* 0 */
	case 154: // STATE 4 - lease.pml:148 - [((((lock!=0)&&!((lock>=64)))&&((lock/2)==(t/2))))] (0:0:0 - 1)
		IfNotBlocked
		reached[0][4] = 1;
		if (!((((((int)now.lock)!=0)&& !((((int)now.lock)>=64)))&&((((int)now.lock)/2)==(((int)((P0 *)_this)->t)/2)))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 155: // STATE 5 - lease.pml:150 - [{c_code1}] (0:0:0 - 1)
		IfNotBlocked
		reached[0][5] = 1;
		/* c_code1 */
		{ 
		sv_save(); static int before; if (!before++) printf("reached: %s\n", "acquire: it was granted before");  }

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
;
		_m = 3; goto P999; /* 0 */
	case 156: // STATE 6 - lease.pml:152 - [((t>lock))] (129:0:9 - 1)
		IfNotBlocked
		reached[0][6] = 1;
		if (!((((int)((P0 *)_this)->t)>((int)now.lock))))
			continue;
		/* merge: lock = t(129, 7, 129) */
		reached[0][7] = 1;
		(trpt+1)->bup.ovals = grab_ints(9);
		(trpt+1)->bup.ovals[0] = ((int)now.lock);
		now.lock = ((int)((P0 *)_this)->t);
#ifdef VAR_RANGES
		logval("lock", ((int)now.lock));
#endif
		;
		/* merge: .(goto)(129, 10, 129) */
		reached[0][10] = 1;
		;
		/* merge: answer = acquired(129, 11, 129) */
		reached[0][11] = 1;
		(trpt+1)->bup.ovals[1] = ((P0 *)_this)->answer;
		((P0 *)_this)->answer = 10;
#ifdef VAR_RANGES
		logval("wires:answer", ((P0 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(129, 38, 129) */
		reached[0][38] = 1;
		;
		/* merge: .(goto)(129, 120, 129) */
		reached[0][120] = 1;
		;
		/* merge: verb = 0(129, 121, 129) */
		reached[0][121] = 1;
		(trpt+1)->bup.ovals[2] = ((P0 *)_this)->verb;
		((P0 *)_this)->verb = 0;
#ifdef VAR_RANGES
		logval("wires:verb", ((P0 *)_this)->verb);
#endif
		;
		/* merge: t = 0(129, 122, 129) */
		reached[0][122] = 1;
		(trpt+1)->bup.ovals[3] = ((int)((P0 *)_this)->t);
		((P0 *)_this)->t = 0;
#ifdef VAR_RANGES
		logval("wires:t", ((int)((P0 *)_this)->t));
#endif
		;
		/* merge: saw = 0(129, 123, 129) */
		reached[0][123] = 1;
		(trpt+1)->bup.ovals[4] = ((int)((P0 *)_this)->saw);
		((P0 *)_this)->saw = 0;
#ifdef VAR_RANGES
		logval("wires:saw", ((int)((P0 *)_this)->saw));
#endif
		;
		/* merge: servable = 0(129, 124, 129) */
		reached[0][124] = 1;
		(trpt+1)->bup.ovals[5] = ((int)((P0 *)_this)->servable);
		((P0 *)_this)->servable = 0;
#ifdef VAR_RANGES
		logval("wires:servable", ((int)((P0 *)_this)->servable));
#endif
		;
		/* merge: result = 0(129, 125, 129) */
		reached[0][125] = 1;
		(trpt+1)->bup.ovals[6] = ((int)((P0 *)_this)->result);
		((P0 *)_this)->result = 0;
#ifdef VAR_RANGES
		logval("wires:result", ((int)((P0 *)_this)->result));
#endif
		;
		/* merge: answer = 0(129, 126, 129) */
		reached[0][126] = 1;
		(trpt+1)->bup.ovals[7] = ((P0 *)_this)->answer;
		((P0 *)_this)->answer = 0;
#ifdef VAR_RANGES
		logval("wires:answer", ((P0 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(0, 130, 129) */
		reached[0][130] = 1;
		;
		_m = 3; goto P999; /* 12 */
	case 157: // STATE 11 - lease.pml:155 - [answer = acquired] (0:129:8 - 3)
		IfNotBlocked
		reached[0][11] = 1;
		(trpt+1)->bup.ovals = grab_ints(8);
		(trpt+1)->bup.ovals[0] = ((P0 *)_this)->answer;
		((P0 *)_this)->answer = 10;
#ifdef VAR_RANGES
		logval("wires:answer", ((P0 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(129, 38, 129) */
		reached[0][38] = 1;
		;
		/* merge: .(goto)(129, 120, 129) */
		reached[0][120] = 1;
		;
		/* merge: verb = 0(129, 121, 129) */
		reached[0][121] = 1;
		(trpt+1)->bup.ovals[1] = ((P0 *)_this)->verb;
		((P0 *)_this)->verb = 0;
#ifdef VAR_RANGES
		logval("wires:verb", ((P0 *)_this)->verb);
#endif
		;
		/* merge: t = 0(129, 122, 129) */
		reached[0][122] = 1;
		(trpt+1)->bup.ovals[2] = ((int)((P0 *)_this)->t);
		((P0 *)_this)->t = 0;
#ifdef VAR_RANGES
		logval("wires:t", ((int)((P0 *)_this)->t));
#endif
		;
		/* merge: saw = 0(129, 123, 129) */
		reached[0][123] = 1;
		(trpt+1)->bup.ovals[3] = ((int)((P0 *)_this)->saw);
		((P0 *)_this)->saw = 0;
#ifdef VAR_RANGES
		logval("wires:saw", ((int)((P0 *)_this)->saw));
#endif
		;
		/* merge: servable = 0(129, 124, 129) */
		reached[0][124] = 1;
		(trpt+1)->bup.ovals[4] = ((int)((P0 *)_this)->servable);
		((P0 *)_this)->servable = 0;
#ifdef VAR_RANGES
		logval("wires:servable", ((int)((P0 *)_this)->servable));
#endif
		;
		/* merge: result = 0(129, 125, 129) */
		reached[0][125] = 1;
		(trpt+1)->bup.ovals[5] = ((int)((P0 *)_this)->result);
		((P0 *)_this)->result = 0;
#ifdef VAR_RANGES
		logval("wires:result", ((int)((P0 *)_this)->result));
#endif
		;
		/* merge: answer = 0(129, 126, 129) */
		reached[0][126] = 1;
		(trpt+1)->bup.ovals[6] = ((P0 *)_this)->answer;
		((P0 *)_this)->answer = 0;
#ifdef VAR_RANGES
		logval("wires:answer", ((P0 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(0, 130, 129) */
		reached[0][130] = 1;
		;
		_m = 3; goto P999; /* 9 */
	case 158: // STATE 12 - lease.pml:156 - [((!((((lock!=0)&&!((lock>=64)))&&((lock/2)==(t/2))))&&(((saw!=63)&&(entry!=0))&&(entry!=saw))))] (0:0:2 - 1)
		IfNotBlocked
		reached[0][12] = 1;
		if (!(( !((((((int)now.lock)!=0)&& !((((int)now.lock)>=64)))&&((((int)now.lock)/2)==(((int)((P0 *)_this)->t)/2))))&&(((((int)((P0 *)_this)->saw)!=63)&&(((int)now.entry)!=0))&&(((int)now.entry)!=((int)((P0 *)_this)->saw))))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 159: // STATE 13 - lease.pml:157 - [{c_code2}] (0:0:0 - 1)
		IfNotBlocked
		reached[0][13] = 1;
		/* c_code2 */
		{ 
		sv_save(); static int before; if (!before++) printf("reached: %s\n", "acquire: the entry is one that the caller did not see");  }

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
;
		_m = 3; goto P999; /* 0 */
	case 160: // STATE 14 - lease.pml:158 - [answer = changed] (0:129:8 - 1)
		IfNotBlocked
		reached[0][14] = 1;
		(trpt+1)->bup.ovals = grab_ints(8);
		(trpt+1)->bup.ovals[0] = ((P0 *)_this)->answer;
		((P0 *)_this)->answer = 8;
#ifdef VAR_RANGES
		logval("wires:answer", ((P0 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(129, 38, 129) */
		reached[0][38] = 1;
		;
		/* merge: .(goto)(129, 120, 129) */
		reached[0][120] = 1;
		;
		/* merge: verb = 0(129, 121, 129) */
		reached[0][121] = 1;
		(trpt+1)->bup.ovals[1] = ((P0 *)_this)->verb;
		((P0 *)_this)->verb = 0;
#ifdef VAR_RANGES
		logval("wires:verb", ((P0 *)_this)->verb);
#endif
		;
		/* merge: t = 0(129, 122, 129) */
		reached[0][122] = 1;
		(trpt+1)->bup.ovals[2] = ((int)((P0 *)_this)->t);
		((P0 *)_this)->t = 0;
#ifdef VAR_RANGES
		logval("wires:t", ((int)((P0 *)_this)->t));
#endif
		;
		/* merge: saw = 0(129, 123, 129) */
		reached[0][123] = 1;
		(trpt+1)->bup.ovals[3] = ((int)((P0 *)_this)->saw);
		((P0 *)_this)->saw = 0;
#ifdef VAR_RANGES
		logval("wires:saw", ((int)((P0 *)_this)->saw));
#endif
		;
		/* merge: servable = 0(129, 124, 129) */
		reached[0][124] = 1;
		(trpt+1)->bup.ovals[4] = ((int)((P0 *)_this)->servable);
		((P0 *)_this)->servable = 0;
#ifdef VAR_RANGES
		logval("wires:servable", ((int)((P0 *)_this)->servable));
#endif
		;
		/* merge: result = 0(129, 125, 129) */
		reached[0][125] = 1;
		(trpt+1)->bup.ovals[5] = ((int)((P0 *)_this)->result);
		((P0 *)_this)->result = 0;
#ifdef VAR_RANGES
		logval("wires:result", ((int)((P0 *)_this)->result));
#endif
		;
		/* merge: answer = 0(129, 126, 129) */
		reached[0][126] = 1;
		(trpt+1)->bup.ovals[6] = ((P0 *)_this)->answer;
		((P0 *)_this)->answer = 0;
#ifdef VAR_RANGES
		logval("wires:answer", ((P0 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(0, 130, 129) */
		reached[0][130] = 1;
		;
		_m = 3; goto P999; /* 9 */
	case 161: // STATE 16 - lease.pml:161 - [((lock==0))] (0:0:0 - 1)
		IfNotBlocked
		reached[0][16] = 1;
		if (!((((int)now.lock)==0)))
			continue;
		_m = 3; goto P999; /* 0 */
	case 162: // STATE 17 - lease.pml:139 - [assert((((0!=0)&&(0!=3))||(holder==0)))] (0:129:11 - 1)
		IfNotBlocked
		reached[0][17] = 1;
		spin_assert((((0!=0)&&(0!=3))||(((int)now.holder)==0)), "(((0!=0)&&(0!=3))||(holder==0))", II, tt, t);
		/* merge: assert((((0!=0)&&(0!=4))||((saw==63)||!((entry&&fresh)))))(129, 18, 129) */
		reached[0][18] = 1;
		spin_assert((((0!=0)&&(0!=4))||((((int)((P0 *)_this)->saw)==63)|| !((((int)now.entry)&&((int)now.fresh))))), "(((0!=0)&&(0!=4))||((saw==63)|| !((entry&&fresh))))", II, tt, t);
		/* merge: lock = t(129, 19, 129) */
		reached[0][19] = 1;
		(trpt+1)->bup.ovals = grab_ints(11);
		(trpt+1)->bup.ovals[0] = ((int)now.lock);
		now.lock = ((int)((P0 *)_this)->t);
#ifdef VAR_RANGES
		logval("lock", ((int)now.lock));
#endif
		;
		/* merge: holder = (t/2)(129, 20, 129) */
		reached[0][20] = 1;
		(trpt+1)->bup.ovals[1] = ((int)now.holder);
		now.holder = (((int)((P0 *)_this)->t)/2);
#ifdef VAR_RANGES
		logval("holder", ((int)now.holder));
#endif
		;
		/* merge: resting = 0(129, 21, 129) */
		reached[0][21] = 1;
		(trpt+1)->bup.ovals[2] = ((int)now.resting);
		now.resting = 0;
#ifdef VAR_RANGES
		logval("resting", ((int)now.resting));
#endif
		;
		/* merge: answer = acquired(129, 23, 129) */
		reached[0][23] = 1;
		(trpt+1)->bup.ovals[3] = ((P0 *)_this)->answer;
		((P0 *)_this)->answer = 10;
#ifdef VAR_RANGES
		logval("wires:answer", ((P0 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(129, 36, 129) */
		reached[0][36] = 1;
		;
		/* merge: .(goto)(129, 38, 129) */
		reached[0][38] = 1;
		;
		/* merge: .(goto)(129, 120, 129) */
		reached[0][120] = 1;
		;
		/* merge: verb = 0(129, 121, 129) */
		reached[0][121] = 1;
		(trpt+1)->bup.ovals[4] = ((P0 *)_this)->verb;
		((P0 *)_this)->verb = 0;
#ifdef VAR_RANGES
		logval("wires:verb", ((P0 *)_this)->verb);
#endif
		;
		/* merge: t = 0(129, 122, 129) */
		reached[0][122] = 1;
		(trpt+1)->bup.ovals[5] = ((int)((P0 *)_this)->t);
		((P0 *)_this)->t = 0;
#ifdef VAR_RANGES
		logval("wires:t", ((int)((P0 *)_this)->t));
#endif
		;
		/* merge: saw = 0(129, 123, 129) */
		reached[0][123] = 1;
		(trpt+1)->bup.ovals[6] = ((int)((P0 *)_this)->saw);
		((P0 *)_this)->saw = 0;
#ifdef VAR_RANGES
		logval("wires:saw", ((int)((P0 *)_this)->saw));
#endif
		;
		/* merge: servable = 0(129, 124, 129) */
		reached[0][124] = 1;
		(trpt+1)->bup.ovals[7] = ((int)((P0 *)_this)->servable);
		((P0 *)_this)->servable = 0;
#ifdef VAR_RANGES
		logval("wires:servable", ((int)((P0 *)_this)->servable));
#endif
		;
		/* merge: result = 0(129, 125, 129) */
		reached[0][125] = 1;
		(trpt+1)->bup.ovals[8] = ((int)((P0 *)_this)->result);
		((P0 *)_this)->result = 0;
#ifdef VAR_RANGES
		logval("wires:result", ((int)((P0 *)_this)->result));
#endif
		;
		/* merge: answer = 0(129, 126, 129) */
		reached[0][126] = 1;
		(trpt+1)->bup.ovals[9] = ((P0 *)_this)->answer;
		((P0 *)_this)->answer = 0;
#ifdef VAR_RANGES
		logval("wires:answer", ((P0 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(0, 130, 129) */
		reached[0][130] = 1;
		;
		_m = 3; goto P999; /* 15 */
	case 163: // STATE 24 - lease.pml:164 - [(((lock>=64)&&(((saw==63)||(entry==0))||!(servable))))] (0:0:1 - 1)
		IfNotBlocked
		reached[0][24] = 1;
		if (!(((((int)now.lock)>=64)&&(((((int)((P0 *)_this)->saw)==63)||(((int)now.entry)==0))|| !(((int)((P0 *)_this)->servable))))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 164: // STATE 25 - lease.pml:165 - [{c_code3}] (0:0:0 - 1)
		IfNotBlocked
		reached[0][25] = 1;
		/* c_code3 */
		{ 
		sv_save(); static int before; if (!before++) printf("reached: %s\n", "acquire: a cooldown with nothing to serve is taken over");  }

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
;
		_m = 3; goto P999; /* 0 */
	case 165: // STATE 26 - lease.pml:139 - [assert((((0!=0)&&(0!=3))||(holder==0)))] (0:129:11 - 1)
		IfNotBlocked
		reached[0][26] = 1;
		spin_assert((((0!=0)&&(0!=3))||(((int)now.holder)==0)), "(((0!=0)&&(0!=3))||(holder==0))", II, tt, t);
		/* merge: assert((((0!=0)&&(0!=4))||((saw==63)||!((entry&&fresh)))))(129, 27, 129) */
		reached[0][27] = 1;
		spin_assert((((0!=0)&&(0!=4))||((((int)((P0 *)_this)->saw)==63)|| !((((int)now.entry)&&((int)now.fresh))))), "(((0!=0)&&(0!=4))||((saw==63)|| !((entry&&fresh))))", II, tt, t);
		/* merge: lock = t(129, 28, 129) */
		reached[0][28] = 1;
		(trpt+1)->bup.ovals = grab_ints(11);
		(trpt+1)->bup.ovals[0] = ((int)now.lock);
		now.lock = ((int)((P0 *)_this)->t);
#ifdef VAR_RANGES
		logval("lock", ((int)now.lock));
#endif
		;
		/* merge: holder = (t/2)(129, 29, 129) */
		reached[0][29] = 1;
		(trpt+1)->bup.ovals[1] = ((int)now.holder);
		now.holder = (((int)((P0 *)_this)->t)/2);
#ifdef VAR_RANGES
		logval("holder", ((int)now.holder));
#endif
		;
		/* merge: resting = 0(129, 30, 129) */
		reached[0][30] = 1;
		(trpt+1)->bup.ovals[2] = ((int)now.resting);
		now.resting = 0;
#ifdef VAR_RANGES
		logval("resting", ((int)now.resting));
#endif
		;
		/* merge: answer = acquired(129, 32, 129) */
		reached[0][32] = 1;
		(trpt+1)->bup.ovals[3] = ((P0 *)_this)->answer;
		((P0 *)_this)->answer = 10;
#ifdef VAR_RANGES
		logval("wires:answer", ((P0 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(129, 36, 129) */
		reached[0][36] = 1;
		;
		/* merge: .(goto)(129, 38, 129) */
		reached[0][38] = 1;
		;
		/* merge: .(goto)(129, 120, 129) */
		reached[0][120] = 1;
		;
		/* merge: verb = 0(129, 121, 129) */
		reached[0][121] = 1;
		(trpt+1)->bup.ovals[4] = ((P0 *)_this)->verb;
		((P0 *)_this)->verb = 0;
#ifdef VAR_RANGES
		logval("wires:verb", ((P0 *)_this)->verb);
#endif
		;
		/* merge: t = 0(129, 122, 129) */
		reached[0][122] = 1;
		(trpt+1)->bup.ovals[5] = ((int)((P0 *)_this)->t);
		((P0 *)_this)->t = 0;
#ifdef VAR_RANGES
		logval("wires:t", ((int)((P0 *)_this)->t));
#endif
		;
		/* merge: saw = 0(129, 123, 129) */
		reached[0][123] = 1;
		(trpt+1)->bup.ovals[6] = ((int)((P0 *)_this)->saw);
		((P0 *)_this)->saw = 0;
#ifdef VAR_RANGES
		logval("wires:saw", ((int)((P0 *)_this)->saw));
#endif
		;
		/* merge: servable = 0(129, 124, 129) */
		reached[0][124] = 1;
		(trpt+1)->bup.ovals[7] = ((int)((P0 *)_this)->servable);
		((P0 *)_this)->servable = 0;
#ifdef VAR_RANGES
		logval("wires:servable", ((int)((P0 *)_this)->servable));
#endif
		;
		/* merge: result = 0(129, 125, 129) */
		reached[0][125] = 1;
		(trpt+1)->bup.ovals[8] = ((int)((P0 *)_this)->result);
		((P0 *)_this)->result = 0;
#ifdef VAR_RANGES
		logval("wires:result", ((int)((P0 *)_this)->result));
#endif
		;
		/* merge: answer = 0(129, 126, 129) */
		reached[0][126] = 1;
		(trpt+1)->bup.ovals[9] = ((P0 *)_this)->answer;
		((P0 *)_this)->answer = 0;
#ifdef VAR_RANGES
		logval("wires:answer", ((P0 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(0, 130, 129) */
		reached[0][130] = 1;
		;
		_m = 3; goto P999; /* 15 */
	case 166: // STATE 34 - lease.pml:169 - [answer = held] (0:129:8 - 1)
		IfNotBlocked
		reached[0][34] = 1;
		(trpt+1)->bup.ovals = grab_ints(8);
		(trpt+1)->bup.ovals[0] = ((P0 *)_this)->answer;
		((P0 *)_this)->answer = 9;
#ifdef VAR_RANGES
		logval("wires:answer", ((P0 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(129, 36, 129) */
		reached[0][36] = 1;
		;
		/* merge: .(goto)(129, 38, 129) */
		reached[0][38] = 1;
		;
		/* merge: .(goto)(129, 120, 129) */
		reached[0][120] = 1;
		;
		/* merge: verb = 0(129, 121, 129) */
		reached[0][121] = 1;
		(trpt+1)->bup.ovals[1] = ((P0 *)_this)->verb;
		((P0 *)_this)->verb = 0;
#ifdef VAR_RANGES
		logval("wires:verb", ((P0 *)_this)->verb);
#endif
		;
		/* merge: t = 0(129, 122, 129) */
		reached[0][122] = 1;
		(trpt+1)->bup.ovals[2] = ((int)((P0 *)_this)->t);
		((P0 *)_this)->t = 0;
#ifdef VAR_RANGES
		logval("wires:t", ((int)((P0 *)_this)->t));
#endif
		;
		/* merge: saw = 0(129, 123, 129) */
		reached[0][123] = 1;
		(trpt+1)->bup.ovals[3] = ((int)((P0 *)_this)->saw);
		((P0 *)_this)->saw = 0;
#ifdef VAR_RANGES
		logval("wires:saw", ((int)((P0 *)_this)->saw));
#endif
		;
		/* merge: servable = 0(129, 124, 129) */
		reached[0][124] = 1;
		(trpt+1)->bup.ovals[4] = ((int)((P0 *)_this)->servable);
		((P0 *)_this)->servable = 0;
#ifdef VAR_RANGES
		logval("wires:servable", ((int)((P0 *)_this)->servable));
#endif
		;
		/* merge: result = 0(129, 125, 129) */
		reached[0][125] = 1;
		(trpt+1)->bup.ovals[5] = ((int)((P0 *)_this)->result);
		((P0 *)_this)->result = 0;
#ifdef VAR_RANGES
		logval("wires:result", ((int)((P0 *)_this)->result));
#endif
		;
		/* merge: answer = 0(129, 126, 129) */
		reached[0][126] = 1;
		(trpt+1)->bup.ovals[6] = ((P0 *)_this)->answer;
		((P0 *)_this)->answer = 0;
#ifdef VAR_RANGES
		logval("wires:answer", ((P0 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(0, 130, 129) */
		reached[0][130] = 1;
		;
		_m = 3; goto P999; /* 10 */
	case 167: // STATE 40 - lease.pml:296 - [((verb==renew))] (0:0:1 - 1)
		IfNotBlocked
		reached[0][40] = 1;
		if (!((((P0 *)_this)->verb==5)))
			continue;
		_m = 3; goto P999; /* 0 */
	case 168: // STATE 41 - lease.pml:176 - [((lock==t))] (129:0:9 - 1)
		IfNotBlocked
		reached[0][41] = 1;
		if (!((((int)now.lock)==((int)((P0 *)_this)->t))))
			continue;
		/* merge: assert((((0!=0)&&(0!=5))||!(resting)))(129, 42, 129) */
		reached[0][42] = 1;
		spin_assert((((0!=0)&&(0!=5))|| !(((int)now.resting))), "(((0!=0)&&(0!=5))|| !(resting))", II, tt, t);
		/* merge: answer = held(129, 43, 129) */
		reached[0][43] = 1;
		(trpt+1)->bup.ovals = grab_ints(9);
		(trpt+1)->bup.ovals[0] = ((P0 *)_this)->answer;
		((P0 *)_this)->answer = 9;
#ifdef VAR_RANGES
		logval("wires:answer", ((P0 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(129, 52, 129) */
		reached[0][52] = 1;
		;
		/* merge: .(goto)(129, 120, 129) */
		reached[0][120] = 1;
		;
		/* merge: verb = 0(129, 121, 129) */
		reached[0][121] = 1;
		(trpt+1)->bup.ovals[1] = ((P0 *)_this)->verb;
		((P0 *)_this)->verb = 0;
#ifdef VAR_RANGES
		logval("wires:verb", ((P0 *)_this)->verb);
#endif
		;
		/* merge: t = 0(129, 122, 129) */
		reached[0][122] = 1;
		(trpt+1)->bup.ovals[2] = ((int)((P0 *)_this)->t);
		((P0 *)_this)->t = 0;
#ifdef VAR_RANGES
		logval("wires:t", ((int)((P0 *)_this)->t));
#endif
		;
		/* merge: saw = 0(129, 123, 129) */
		reached[0][123] = 1;
		(trpt+1)->bup.ovals[3] = ((int)((P0 *)_this)->saw);
		((P0 *)_this)->saw = 0;
#ifdef VAR_RANGES
		logval("wires:saw", ((int)((P0 *)_this)->saw));
#endif
		;
		/* merge: servable = 0(129, 124, 129) */
		reached[0][124] = 1;
		(trpt+1)->bup.ovals[4] = ((int)((P0 *)_this)->servable);
		((P0 *)_this)->servable = 0;
#ifdef VAR_RANGES
		logval("wires:servable", ((int)((P0 *)_this)->servable));
#endif
		;
		/* merge: result = 0(129, 125, 129) */
		reached[0][125] = 1;
		(trpt+1)->bup.ovals[5] = ((int)((P0 *)_this)->result);
		((P0 *)_this)->result = 0;
#ifdef VAR_RANGES
		logval("wires:result", ((int)((P0 *)_this)->result));
#endif
		;
		/* merge: answer = 0(129, 126, 129) */
		reached[0][126] = 1;
		(trpt+1)->bup.ovals[6] = ((P0 *)_this)->answer;
		((P0 *)_this)->answer = 0;
#ifdef VAR_RANGES
		logval("wires:answer", ((P0 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(0, 130, 129) */
		reached[0][130] = 1;
		;
		_m = 3; goto P999; /* 11 */
	case 169: // STATE 45 - lease.pml:181 - [(resting)] (0:0:0 - 1)
		IfNotBlocked
		reached[0][45] = 1;
		if (!(((int)now.resting)))
			continue;
		_m = 3; goto P999; /* 0 */
	case 170: // STATE 46 - lease.pml:181 - [{c_code4}] (0:0:0 - 1)
		IfNotBlocked
		reached[0][46] = 1;
		/* c_code4 */
		{ 
		sv_save(); static int before; if (!before++) printf("reached: %s\n", "renew: too late, the lease is a cooldown");  }

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
;
		_m = 3; goto P999; /* 0 */
	case 171: // STATE 50 - lease.pml:184 - [answer = lost] (0:129:8 - 3)
		IfNotBlocked
		reached[0][50] = 1;
		(trpt+1)->bup.ovals = grab_ints(8);
		(trpt+1)->bup.ovals[0] = ((P0 *)_this)->answer;
		((P0 *)_this)->answer = 7;
#ifdef VAR_RANGES
		logval("wires:answer", ((P0 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(129, 52, 129) */
		reached[0][52] = 1;
		;
		/* merge: .(goto)(129, 120, 129) */
		reached[0][120] = 1;
		;
		/* merge: verb = 0(129, 121, 129) */
		reached[0][121] = 1;
		(trpt+1)->bup.ovals[1] = ((P0 *)_this)->verb;
		((P0 *)_this)->verb = 0;
#ifdef VAR_RANGES
		logval("wires:verb", ((P0 *)_this)->verb);
#endif
		;
		/* merge: t = 0(129, 122, 129) */
		reached[0][122] = 1;
		(trpt+1)->bup.ovals[2] = ((int)((P0 *)_this)->t);
		((P0 *)_this)->t = 0;
#ifdef VAR_RANGES
		logval("wires:t", ((int)((P0 *)_this)->t));
#endif
		;
		/* merge: saw = 0(129, 123, 129) */
		reached[0][123] = 1;
		(trpt+1)->bup.ovals[3] = ((int)((P0 *)_this)->saw);
		((P0 *)_this)->saw = 0;
#ifdef VAR_RANGES
		logval("wires:saw", ((int)((P0 *)_this)->saw));
#endif
		;
		/* merge: servable = 0(129, 124, 129) */
		reached[0][124] = 1;
		(trpt+1)->bup.ovals[4] = ((int)((P0 *)_this)->servable);
		((P0 *)_this)->servable = 0;
#ifdef VAR_RANGES
		logval("wires:servable", ((int)((P0 *)_this)->servable));
#endif
		;
		/* merge: result = 0(129, 125, 129) */
		reached[0][125] = 1;
		(trpt+1)->bup.ovals[5] = ((int)((P0 *)_this)->result);
		((P0 *)_this)->result = 0;
#ifdef VAR_RANGES
		logval("wires:result", ((int)((P0 *)_this)->result));
#endif
		;
		/* merge: answer = 0(129, 126, 129) */
		reached[0][126] = 1;
		(trpt+1)->bup.ovals[6] = ((P0 *)_this)->answer;
		((P0 *)_this)->answer = 0;
#ifdef VAR_RANGES
		logval("wires:answer", ((P0 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(0, 130, 129) */
		reached[0][130] = 1;
		;
		_m = 3; goto P999; /* 9 */
	case 172: // STATE 54 - lease.pml:297 - [((verb==store))] (0:0:1 - 1)
		IfNotBlocked
		reached[0][54] = 1;
		if (!((((P0 *)_this)->verb==4)))
			continue;
		_m = 3; goto P999; /* 0 */
	case 173: // STATE 55 - lease.pml:190 - [((entry==(t/2)))] (0:0:1 - 1)
		IfNotBlocked
		reached[0][55] = 1;
		if (!((((int)now.entry)==(((int)((P0 *)_this)->t)/2))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 174: // STATE 56 - lease.pml:191 - [{c_code5}] (0:0:0 - 1)
		IfNotBlocked
		reached[0][56] = 1;
		/* c_code5 */
		{ 
		sv_save(); static int before; if (!before++) printf("reached: %s\n", "store: it was stored before");  }

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
;
		_m = 3; goto P999; /* 0 */
	case 175: // STATE 57 - lease.pml:192 - [answer = held] (0:129:8 - 1)
		IfNotBlocked
		reached[0][57] = 1;
		(trpt+1)->bup.ovals = grab_ints(8);
		(trpt+1)->bup.ovals[0] = ((P0 *)_this)->answer;
		((P0 *)_this)->answer = 9;
#ifdef VAR_RANGES
		logval("wires:answer", ((P0 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(129, 77, 129) */
		reached[0][77] = 1;
		;
		/* merge: .(goto)(129, 120, 129) */
		reached[0][120] = 1;
		;
		/* merge: verb = 0(129, 121, 129) */
		reached[0][121] = 1;
		(trpt+1)->bup.ovals[1] = ((P0 *)_this)->verb;
		((P0 *)_this)->verb = 0;
#ifdef VAR_RANGES
		logval("wires:verb", ((P0 *)_this)->verb);
#endif
		;
		/* merge: t = 0(129, 122, 129) */
		reached[0][122] = 1;
		(trpt+1)->bup.ovals[2] = ((int)((P0 *)_this)->t);
		((P0 *)_this)->t = 0;
#ifdef VAR_RANGES
		logval("wires:t", ((int)((P0 *)_this)->t));
#endif
		;
		/* merge: saw = 0(129, 123, 129) */
		reached[0][123] = 1;
		(trpt+1)->bup.ovals[3] = ((int)((P0 *)_this)->saw);
		((P0 *)_this)->saw = 0;
#ifdef VAR_RANGES
		logval("wires:saw", ((int)((P0 *)_this)->saw));
#endif
		;
		/* merge: servable = 0(129, 124, 129) */
		reached[0][124] = 1;
		(trpt+1)->bup.ovals[4] = ((int)((P0 *)_this)->servable);
		((P0 *)_this)->servable = 0;
#ifdef VAR_RANGES
		logval("wires:servable", ((int)((P0 *)_this)->servable));
#endif
		;
		/* merge: result = 0(129, 125, 129) */
		reached[0][125] = 1;
		(trpt+1)->bup.ovals[5] = ((int)((P0 *)_this)->result);
		((P0 *)_this)->result = 0;
#ifdef VAR_RANGES
		logval("wires:result", ((int)((P0 *)_this)->result));
#endif
		;
		/* merge: answer = 0(129, 126, 129) */
		reached[0][126] = 1;
		(trpt+1)->bup.ovals[6] = ((P0 *)_this)->answer;
		((P0 *)_this)->answer = 0;
#ifdef VAR_RANGES
		logval("wires:answer", ((P0 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(0, 130, 129) */
		reached[0][130] = 1;
		;
		_m = 3; goto P999; /* 9 */
	case 176: // STATE 58 - lease.pml:193 - [(((entry!=(t/2))&&(lock==t)))] (66:0:3 - 1)
		IfNotBlocked
		reached[0][58] = 1;
		if (!(((((int)now.entry)!=(((int)((P0 *)_this)->t)/2))&&(((int)now.lock)==((int)((P0 *)_this)->t)))))
			continue;
		/* merge: assert((((0!=0)&&(0!=2))||(holder==(t/2))))(66, 59, 66) */
		reached[0][59] = 1;
		spin_assert((((0!=0)&&(0!=2))||(((int)now.holder)==(((int)((P0 *)_this)->t)/2))), "(((0!=0)&&(0!=2))||(holder==(t/2)))", II, tt, t);
		/* merge: entry = (t/2)(66, 60, 66) */
		reached[0][60] = 1;
		(trpt+1)->bup.ovals = grab_ints(3);
		(trpt+1)->bup.ovals[0] = ((int)now.entry);
		now.entry = (((int)((P0 *)_this)->t)/2);
#ifdef VAR_RANGES
		logval("entry", ((int)now.entry));
#endif
		;
		/* merge: version = result(66, 61, 66) */
		reached[0][61] = 1;
		(trpt+1)->bup.ovals[1] = ((int)now.version);
		now.version = ((int)((P0 *)_this)->result);
#ifdef VAR_RANGES
		logval("version", ((int)now.version));
#endif
		;
		/* merge: fresh = 1(66, 62, 66) */
		reached[0][62] = 1;
		(trpt+1)->bup.ovals[2] = ((int)now.fresh);
		now.fresh = 1;
#ifdef VAR_RANGES
		logval("fresh", ((int)now.fresh));
#endif
		;
		_m = 3; goto P999; /* 4 */
	case 177: // STATE 63 - lease.pml:244 - [lock = 0] (0:129:11 - 1)
		IfNotBlocked
		reached[0][63] = 1;
		(trpt+1)->bup.ovals = grab_ints(11);
		(trpt+1)->bup.ovals[0] = ((int)now.lock);
		now.lock = 0;
#ifdef VAR_RANGES
		logval("lock", ((int)now.lock));
#endif
		;
		/* merge: holder = 0(129, 64, 129) */
		reached[0][64] = 1;
		(trpt+1)->bup.ovals[1] = ((int)now.holder);
		now.holder = 0;
#ifdef VAR_RANGES
		logval("holder", ((int)now.holder));
#endif
		;
		/* merge: resting = 0(129, 65, 129) */
		reached[0][65] = 1;
		(trpt+1)->bup.ovals[2] = ((int)now.resting);
		now.resting = 0;
#ifdef VAR_RANGES
		logval("resting", ((int)now.resting));
#endif
		;
		/* merge: answer = held(129, 67, 129) */
		reached[0][67] = 1;
		(trpt+1)->bup.ovals[3] = ((P0 *)_this)->answer;
		((P0 *)_this)->answer = 9;
#ifdef VAR_RANGES
		logval("wires:answer", ((P0 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(129, 77, 129) */
		reached[0][77] = 1;
		;
		/* merge: .(goto)(129, 120, 129) */
		reached[0][120] = 1;
		;
		/* merge: verb = 0(129, 121, 129) */
		reached[0][121] = 1;
		(trpt+1)->bup.ovals[4] = ((P0 *)_this)->verb;
		((P0 *)_this)->verb = 0;
#ifdef VAR_RANGES
		logval("wires:verb", ((P0 *)_this)->verb);
#endif
		;
		/* merge: t = 0(129, 122, 129) */
		reached[0][122] = 1;
		(trpt+1)->bup.ovals[5] = ((int)((P0 *)_this)->t);
		((P0 *)_this)->t = 0;
#ifdef VAR_RANGES
		logval("wires:t", ((int)((P0 *)_this)->t));
#endif
		;
		/* merge: saw = 0(129, 123, 129) */
		reached[0][123] = 1;
		(trpt+1)->bup.ovals[6] = ((int)((P0 *)_this)->saw);
		((P0 *)_this)->saw = 0;
#ifdef VAR_RANGES
		logval("wires:saw", ((int)((P0 *)_this)->saw));
#endif
		;
		/* merge: servable = 0(129, 124, 129) */
		reached[0][124] = 1;
		(trpt+1)->bup.ovals[7] = ((int)((P0 *)_this)->servable);
		((P0 *)_this)->servable = 0;
#ifdef VAR_RANGES
		logval("wires:servable", ((int)((P0 *)_this)->servable));
#endif
		;
		/* merge: result = 0(129, 125, 129) */
		reached[0][125] = 1;
		(trpt+1)->bup.ovals[8] = ((int)((P0 *)_this)->result);
		((P0 *)_this)->result = 0;
#ifdef VAR_RANGES
		logval("wires:result", ((int)((P0 *)_this)->result));
#endif
		;
		/* merge: answer = 0(129, 126, 129) */
		reached[0][126] = 1;
		(trpt+1)->bup.ovals[9] = ((P0 *)_this)->answer;
		((P0 *)_this)->answer = 0;
#ifdef VAR_RANGES
		logval("wires:answer", ((P0 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(0, 130, 129) */
		reached[0][130] = 1;
		;
		_m = 3; goto P999; /* 12 */
	case 178: // STATE 69 - lease.pml:202 - [((lock==0))] (0:0:0 - 1)
		IfNotBlocked
		reached[0][69] = 1;
		if (!((((int)now.lock)==0)))
			continue;
		_m = 3; goto P999; /* 0 */
	case 179: // STATE 70 - lease.pml:202 - [{c_code6}] (0:0:0 - 1)
		IfNotBlocked
		reached[0][70] = 1;
		/* c_code6 */
		{ 
		sv_save(); static int before; if (!before++) printf("reached: %s\n", "store: lost, and the lock is free");  }

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
;
		_m = 3; goto P999; /* 0 */
	case 180: // STATE 71 - lease.pml:203 - [((lock!=0))] (0:0:0 - 1)
		IfNotBlocked
		reached[0][71] = 1;
		if (!((((int)now.lock)!=0)))
			continue;
		_m = 3; goto P999; /* 0 */
	case 181: // STATE 72 - lease.pml:203 - [{c_code7}] (0:0:0 - 1)
		IfNotBlocked
		reached[0][72] = 1;
		/* c_code7 */
		{ 
		sv_save(); static int before; if (!before++) printf("reached: %s\n", "store: lost to another holder");  }

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
;
		_m = 3; goto P999; /* 0 */
	case 182: // STATE 75 - lease.pml:205 - [answer = lost] (0:129:8 - 3)
		IfNotBlocked
		reached[0][75] = 1;
		(trpt+1)->bup.ovals = grab_ints(8);
		(trpt+1)->bup.ovals[0] = ((P0 *)_this)->answer;
		((P0 *)_this)->answer = 7;
#ifdef VAR_RANGES
		logval("wires:answer", ((P0 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(129, 77, 129) */
		reached[0][77] = 1;
		;
		/* merge: .(goto)(129, 120, 129) */
		reached[0][120] = 1;
		;
		/* merge: verb = 0(129, 121, 129) */
		reached[0][121] = 1;
		(trpt+1)->bup.ovals[1] = ((P0 *)_this)->verb;
		((P0 *)_this)->verb = 0;
#ifdef VAR_RANGES
		logval("wires:verb", ((P0 *)_this)->verb);
#endif
		;
		/* merge: t = 0(129, 122, 129) */
		reached[0][122] = 1;
		(trpt+1)->bup.ovals[2] = ((int)((P0 *)_this)->t);
		((P0 *)_this)->t = 0;
#ifdef VAR_RANGES
		logval("wires:t", ((int)((P0 *)_this)->t));
#endif
		;
		/* merge: saw = 0(129, 123, 129) */
		reached[0][123] = 1;
		(trpt+1)->bup.ovals[3] = ((int)((P0 *)_this)->saw);
		((P0 *)_this)->saw = 0;
#ifdef VAR_RANGES
		logval("wires:saw", ((int)((P0 *)_this)->saw));
#endif
		;
		/* merge: servable = 0(129, 124, 129) */
		reached[0][124] = 1;
		(trpt+1)->bup.ovals[4] = ((int)((P0 *)_this)->servable);
		((P0 *)_this)->servable = 0;
#ifdef VAR_RANGES
		logval("wires:servable", ((int)((P0 *)_this)->servable));
#endif
		;
		/* merge: result = 0(129, 125, 129) */
		reached[0][125] = 1;
		(trpt+1)->bup.ovals[5] = ((int)((P0 *)_this)->result);
		((P0 *)_this)->result = 0;
#ifdef VAR_RANGES
		logval("wires:result", ((int)((P0 *)_this)->result));
#endif
		;
		/* merge: answer = 0(129, 126, 129) */
		reached[0][126] = 1;
		(trpt+1)->bup.ovals[6] = ((P0 *)_this)->answer;
		((P0 *)_this)->answer = 0;
#ifdef VAR_RANGES
		logval("wires:answer", ((P0 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(0, 130, 129) */
		reached[0][130] = 1;
		;
		_m = 3; goto P999; /* 9 */
	case 183: // STATE 79 - lease.pml:298 - [((verb==cooldown))] (0:0:1 - 1)
		IfNotBlocked
		reached[0][79] = 1;
		if (!((((P0 *)_this)->verb==3)))
			continue;
		_m = 3; goto P999; /* 0 */
	case 184: // STATE 80 - lease.pml:211 - [((lock==(64+t)))] (0:0:1 - 1)
		IfNotBlocked
		reached[0][80] = 1;
		if (!((((int)now.lock)==(64+((int)((P0 *)_this)->t)))))
			continue;
		_m = 3; goto P999; /* 0 */
	case 185: // STATE 81 - lease.pml:212 - [{c_code8}] (0:0:0 - 1)
		IfNotBlocked
		reached[0][81] = 1;
		/* c_code8 */
		{ 
		sv_save(); static int before; if (!before++) printf("reached: %s\n", "cool down: it was done before");  }

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
;
		_m = 3; goto P999; /* 0 */
	case 186: // STATE 82 - lease.pml:213 - [answer = held] (0:129:8 - 1)
		IfNotBlocked
		reached[0][82] = 1;
		(trpt+1)->bup.ovals = grab_ints(8);
		(trpt+1)->bup.ovals[0] = ((P0 *)_this)->answer;
		((P0 *)_this)->answer = 9;
#ifdef VAR_RANGES
		logval("wires:answer", ((P0 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(129, 92, 129) */
		reached[0][92] = 1;
		;
		/* merge: .(goto)(129, 120, 129) */
		reached[0][120] = 1;
		;
		/* merge: verb = 0(129, 121, 129) */
		reached[0][121] = 1;
		(trpt+1)->bup.ovals[1] = ((P0 *)_this)->verb;
		((P0 *)_this)->verb = 0;
#ifdef VAR_RANGES
		logval("wires:verb", ((P0 *)_this)->verb);
#endif
		;
		/* merge: t = 0(129, 122, 129) */
		reached[0][122] = 1;
		(trpt+1)->bup.ovals[2] = ((int)((P0 *)_this)->t);
		((P0 *)_this)->t = 0;
#ifdef VAR_RANGES
		logval("wires:t", ((int)((P0 *)_this)->t));
#endif
		;
		/* merge: saw = 0(129, 123, 129) */
		reached[0][123] = 1;
		(trpt+1)->bup.ovals[3] = ((int)((P0 *)_this)->saw);
		((P0 *)_this)->saw = 0;
#ifdef VAR_RANGES
		logval("wires:saw", ((int)((P0 *)_this)->saw));
#endif
		;
		/* merge: servable = 0(129, 124, 129) */
		reached[0][124] = 1;
		(trpt+1)->bup.ovals[4] = ((int)((P0 *)_this)->servable);
		((P0 *)_this)->servable = 0;
#ifdef VAR_RANGES
		logval("wires:servable", ((int)((P0 *)_this)->servable));
#endif
		;
		/* merge: result = 0(129, 125, 129) */
		reached[0][125] = 1;
		(trpt+1)->bup.ovals[5] = ((int)((P0 *)_this)->result);
		((P0 *)_this)->result = 0;
#ifdef VAR_RANGES
		logval("wires:result", ((int)((P0 *)_this)->result));
#endif
		;
		/* merge: answer = 0(129, 126, 129) */
		reached[0][126] = 1;
		(trpt+1)->bup.ovals[6] = ((P0 *)_this)->answer;
		((P0 *)_this)->answer = 0;
#ifdef VAR_RANGES
		logval("wires:answer", ((P0 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(0, 130, 129) */
		reached[0][130] = 1;
		;
		_m = 3; goto P999; /* 9 */
	case 187: // STATE 83 - lease.pml:214 - [(((lock!=(64+t))&&(lock==t)))] (129:0:11 - 1)
		IfNotBlocked
		reached[0][83] = 1;
		if (!(((((int)now.lock)!=(64+((int)((P0 *)_this)->t)))&&(((int)now.lock)==((int)((P0 *)_this)->t)))))
			continue;
		/* merge: lock = (64+t)(129, 84, 129) */
		reached[0][84] = 1;
		(trpt+1)->bup.ovals = grab_ints(11);
		(trpt+1)->bup.ovals[0] = ((int)now.lock);
		now.lock = (64+((int)((P0 *)_this)->t));
#ifdef VAR_RANGES
		logval("lock", ((int)now.lock));
#endif
		;
		/* merge: holder = 0(129, 85, 129) */
		reached[0][85] = 1;
		(trpt+1)->bup.ovals[1] = ((int)now.holder);
		now.holder = 0;
#ifdef VAR_RANGES
		logval("holder", ((int)now.holder));
#endif
		;
		/* merge: resting = 1(129, 86, 129) */
		reached[0][86] = 1;
		(trpt+1)->bup.ovals[2] = ((int)now.resting);
		now.resting = 1;
#ifdef VAR_RANGES
		logval("resting", ((int)now.resting));
#endif
		;
		/* merge: answer = held(129, 87, 129) */
		reached[0][87] = 1;
		(trpt+1)->bup.ovals[3] = ((P0 *)_this)->answer;
		((P0 *)_this)->answer = 9;
#ifdef VAR_RANGES
		logval("wires:answer", ((P0 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(129, 92, 129) */
		reached[0][92] = 1;
		;
		/* merge: .(goto)(129, 120, 129) */
		reached[0][120] = 1;
		;
		/* merge: verb = 0(129, 121, 129) */
		reached[0][121] = 1;
		(trpt+1)->bup.ovals[4] = ((P0 *)_this)->verb;
		((P0 *)_this)->verb = 0;
#ifdef VAR_RANGES
		logval("wires:verb", ((P0 *)_this)->verb);
#endif
		;
		/* merge: t = 0(129, 122, 129) */
		reached[0][122] = 1;
		(trpt+1)->bup.ovals[5] = ((int)((P0 *)_this)->t);
		((P0 *)_this)->t = 0;
#ifdef VAR_RANGES
		logval("wires:t", ((int)((P0 *)_this)->t));
#endif
		;
		/* merge: saw = 0(129, 123, 129) */
		reached[0][123] = 1;
		(trpt+1)->bup.ovals[6] = ((int)((P0 *)_this)->saw);
		((P0 *)_this)->saw = 0;
#ifdef VAR_RANGES
		logval("wires:saw", ((int)((P0 *)_this)->saw));
#endif
		;
		/* merge: servable = 0(129, 124, 129) */
		reached[0][124] = 1;
		(trpt+1)->bup.ovals[7] = ((int)((P0 *)_this)->servable);
		((P0 *)_this)->servable = 0;
#ifdef VAR_RANGES
		logval("wires:servable", ((int)((P0 *)_this)->servable));
#endif
		;
		/* merge: result = 0(129, 125, 129) */
		reached[0][125] = 1;
		(trpt+1)->bup.ovals[8] = ((int)((P0 *)_this)->result);
		((P0 *)_this)->result = 0;
#ifdef VAR_RANGES
		logval("wires:result", ((int)((P0 *)_this)->result));
#endif
		;
		/* merge: answer = 0(129, 126, 129) */
		reached[0][126] = 1;
		(trpt+1)->bup.ovals[9] = ((P0 *)_this)->answer;
		((P0 *)_this)->answer = 0;
#ifdef VAR_RANGES
		logval("wires:answer", ((P0 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(0, 130, 129) */
		reached[0][130] = 1;
		;
		_m = 3; goto P999; /* 13 */
	case 188: // STATE 89 - lease.pml:222 - [{c_code9}] (0:0:0 - 1)
		IfNotBlocked
		reached[0][89] = 1;
		/* c_code9 */
		{ 
		sv_save(); static int before; if (!before++) printf("reached: %s\n", "cool down: lost");  }

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
;
		_m = 3; goto P999; /* 0 */
	case 189: // STATE 90 - lease.pml:223 - [answer = lost] (0:129:8 - 1)
		IfNotBlocked
		reached[0][90] = 1;
		(trpt+1)->bup.ovals = grab_ints(8);
		(trpt+1)->bup.ovals[0] = ((P0 *)_this)->answer;
		((P0 *)_this)->answer = 7;
#ifdef VAR_RANGES
		logval("wires:answer", ((P0 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(129, 92, 129) */
		reached[0][92] = 1;
		;
		/* merge: .(goto)(129, 120, 129) */
		reached[0][120] = 1;
		;
		/* merge: verb = 0(129, 121, 129) */
		reached[0][121] = 1;
		(trpt+1)->bup.ovals[1] = ((P0 *)_this)->verb;
		((P0 *)_this)->verb = 0;
#ifdef VAR_RANGES
		logval("wires:verb", ((P0 *)_this)->verb);
#endif
		;
		/* merge: t = 0(129, 122, 129) */
		reached[0][122] = 1;
		(trpt+1)->bup.ovals[2] = ((int)((P0 *)_this)->t);
		((P0 *)_this)->t = 0;
#ifdef VAR_RANGES
		logval("wires:t", ((int)((P0 *)_this)->t));
#endif
		;
		/* merge: saw = 0(129, 123, 129) */
		reached[0][123] = 1;
		(trpt+1)->bup.ovals[3] = ((int)((P0 *)_this)->saw);
		((P0 *)_this)->saw = 0;
#ifdef VAR_RANGES
		logval("wires:saw", ((int)((P0 *)_this)->saw));
#endif
		;
		/* merge: servable = 0(129, 124, 129) */
		reached[0][124] = 1;
		(trpt+1)->bup.ovals[4] = ((int)((P0 *)_this)->servable);
		((P0 *)_this)->servable = 0;
#ifdef VAR_RANGES
		logval("wires:servable", ((int)((P0 *)_this)->servable));
#endif
		;
		/* merge: result = 0(129, 125, 129) */
		reached[0][125] = 1;
		(trpt+1)->bup.ovals[5] = ((int)((P0 *)_this)->result);
		((P0 *)_this)->result = 0;
#ifdef VAR_RANGES
		logval("wires:result", ((int)((P0 *)_this)->result));
#endif
		;
		/* merge: answer = 0(129, 126, 129) */
		reached[0][126] = 1;
		(trpt+1)->bup.ovals[6] = ((P0 *)_this)->answer;
		((P0 *)_this)->answer = 0;
#ifdef VAR_RANGES
		logval("wires:answer", ((P0 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(0, 130, 129) */
		reached[0][130] = 1;
		;
		_m = 3; goto P999; /* 9 */
	case 190: // STATE 94 - lease.pml:299 - [((verb==release))] (0:0:1 - 1)
		IfNotBlocked
		reached[0][94] = 1;
		if (!((((P0 *)_this)->verb==2)))
			continue;
		_m = 3; goto P999; /* 0 */
	case 191: // STATE 95 - lease.pml:229 - [((((lock!=0)&&!((lock>=64)))&&((lock/2)==(t/2))))] (101:0:2 - 1)
		IfNotBlocked
		reached[0][95] = 1;
		if (!((((((int)now.lock)!=0)&& !((((int)now.lock)>=64)))&&((((int)now.lock)/2)==(((int)((P0 *)_this)->t)/2)))))
			continue;
		/* merge: lock = 0(101, 96, 101) */
		reached[0][96] = 1;
		(trpt+1)->bup.ovals = grab_ints(2);
		(trpt+1)->bup.ovals[0] = ((int)now.lock);
		now.lock = 0;
#ifdef VAR_RANGES
		logval("lock", ((int)now.lock));
#endif
		;
		/* merge: resting = 0(101, 97, 101) */
		reached[0][97] = 1;
		(trpt+1)->bup.ovals[1] = ((int)now.resting);
		now.resting = 0;
#ifdef VAR_RANGES
		logval("resting", ((int)now.resting));
#endif
		;
		_m = 3; goto P999; /* 2 */
	case 192: // STATE 98 - lease.pml:233 - [((holder==(t/2)))] (129:0:10 - 1)
		IfNotBlocked
		reached[0][98] = 1;
		if (!((((int)now.holder)==(((int)((P0 *)_this)->t)/2))))
			continue;
		/* merge: holder = 0(129, 99, 129) */
		reached[0][99] = 1;
		(trpt+1)->bup.ovals = grab_ints(10);
		(trpt+1)->bup.ovals[0] = ((int)now.holder);
		now.holder = 0;
#ifdef VAR_RANGES
		logval("holder", ((int)now.holder));
#endif
		;
		/* merge: .(goto)(129, 102, 129) */
		reached[0][102] = 1;
		;
		/* merge: answer = held(129, 103, 129) */
		reached[0][103] = 1;
		(trpt+1)->bup.ovals[1] = ((P0 *)_this)->answer;
		((P0 *)_this)->answer = 9;
#ifdef VAR_RANGES
		logval("wires:answer", ((P0 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(129, 108, 129) */
		reached[0][108] = 1;
		;
		/* merge: .(goto)(129, 120, 129) */
		reached[0][120] = 1;
		;
		/* merge: verb = 0(129, 121, 129) */
		reached[0][121] = 1;
		(trpt+1)->bup.ovals[2] = ((P0 *)_this)->verb;
		((P0 *)_this)->verb = 0;
#ifdef VAR_RANGES
		logval("wires:verb", ((P0 *)_this)->verb);
#endif
		;
		/* merge: t = 0(129, 122, 129) */
		reached[0][122] = 1;
		(trpt+1)->bup.ovals[3] = ((int)((P0 *)_this)->t);
		((P0 *)_this)->t = 0;
#ifdef VAR_RANGES
		logval("wires:t", ((int)((P0 *)_this)->t));
#endif
		;
		/* merge: saw = 0(129, 123, 129) */
		reached[0][123] = 1;
		(trpt+1)->bup.ovals[4] = ((int)((P0 *)_this)->saw);
		((P0 *)_this)->saw = 0;
#ifdef VAR_RANGES
		logval("wires:saw", ((int)((P0 *)_this)->saw));
#endif
		;
		/* merge: servable = 0(129, 124, 129) */
		reached[0][124] = 1;
		(trpt+1)->bup.ovals[5] = ((int)((P0 *)_this)->servable);
		((P0 *)_this)->servable = 0;
#ifdef VAR_RANGES
		logval("wires:servable", ((int)((P0 *)_this)->servable));
#endif
		;
		/* merge: result = 0(129, 125, 129) */
		reached[0][125] = 1;
		(trpt+1)->bup.ovals[6] = ((int)((P0 *)_this)->result);
		((P0 *)_this)->result = 0;
#ifdef VAR_RANGES
		logval("wires:result", ((int)((P0 *)_this)->result));
#endif
		;
		/* merge: answer = 0(129, 126, 129) */
		reached[0][126] = 1;
		(trpt+1)->bup.ovals[7] = ((P0 *)_this)->answer;
		((P0 *)_this)->answer = 0;
#ifdef VAR_RANGES
		logval("wires:answer", ((P0 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(0, 130, 129) */
		reached[0][130] = 1;
		;
		_m = 3; goto P999; /* 12 */
	case 193: // STATE 103 - lease.pml:236 - [answer = held] (0:129:8 - 3)
		IfNotBlocked
		reached[0][103] = 1;
		(trpt+1)->bup.ovals = grab_ints(8);
		(trpt+1)->bup.ovals[0] = ((P0 *)_this)->answer;
		((P0 *)_this)->answer = 9;
#ifdef VAR_RANGES
		logval("wires:answer", ((P0 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(129, 108, 129) */
		reached[0][108] = 1;
		;
		/* merge: .(goto)(129, 120, 129) */
		reached[0][120] = 1;
		;
		/* merge: verb = 0(129, 121, 129) */
		reached[0][121] = 1;
		(trpt+1)->bup.ovals[1] = ((P0 *)_this)->verb;
		((P0 *)_this)->verb = 0;
#ifdef VAR_RANGES
		logval("wires:verb", ((P0 *)_this)->verb);
#endif
		;
		/* merge: t = 0(129, 122, 129) */
		reached[0][122] = 1;
		(trpt+1)->bup.ovals[2] = ((int)((P0 *)_this)->t);
		((P0 *)_this)->t = 0;
#ifdef VAR_RANGES
		logval("wires:t", ((int)((P0 *)_this)->t));
#endif
		;
		/* merge: saw = 0(129, 123, 129) */
		reached[0][123] = 1;
		(trpt+1)->bup.ovals[3] = ((int)((P0 *)_this)->saw);
		((P0 *)_this)->saw = 0;
#ifdef VAR_RANGES
		logval("wires:saw", ((int)((P0 *)_this)->saw));
#endif
		;
		/* merge: servable = 0(129, 124, 129) */
		reached[0][124] = 1;
		(trpt+1)->bup.ovals[4] = ((int)((P0 *)_this)->servable);
		((P0 *)_this)->servable = 0;
#ifdef VAR_RANGES
		logval("wires:servable", ((int)((P0 *)_this)->servable));
#endif
		;
		/* merge: result = 0(129, 125, 129) */
		reached[0][125] = 1;
		(trpt+1)->bup.ovals[5] = ((int)((P0 *)_this)->result);
		((P0 *)_this)->result = 0;
#ifdef VAR_RANGES
		logval("wires:result", ((int)((P0 *)_this)->result));
#endif
		;
		/* merge: answer = 0(129, 126, 129) */
		reached[0][126] = 1;
		(trpt+1)->bup.ovals[6] = ((P0 *)_this)->answer;
		((P0 *)_this)->answer = 0;
#ifdef VAR_RANGES
		logval("wires:answer", ((P0 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(0, 130, 129) */
		reached[0][130] = 1;
		;
		_m = 3; goto P999; /* 9 */
	case 194: // STATE 105 - lease.pml:238 - [{c_code10}] (0:0:0 - 1)
		IfNotBlocked
		reached[0][105] = 1;
		/* c_code10 */
		{ 
		sv_save(); static int before; if (!before++) printf("reached: %s\n", "release: lost");  }

#if defined(C_States) && (HAS_TRACK==1)
		c_update((uchar *) &(now.c_state[0]));
#endif
;
		_m = 3; goto P999; /* 0 */
	case 195: // STATE 106 - lease.pml:239 - [answer = lost] (0:129:8 - 1)
		IfNotBlocked
		reached[0][106] = 1;
		(trpt+1)->bup.ovals = grab_ints(8);
		(trpt+1)->bup.ovals[0] = ((P0 *)_this)->answer;
		((P0 *)_this)->answer = 7;
#ifdef VAR_RANGES
		logval("wires:answer", ((P0 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(129, 108, 129) */
		reached[0][108] = 1;
		;
		/* merge: .(goto)(129, 120, 129) */
		reached[0][120] = 1;
		;
		/* merge: verb = 0(129, 121, 129) */
		reached[0][121] = 1;
		(trpt+1)->bup.ovals[1] = ((P0 *)_this)->verb;
		((P0 *)_this)->verb = 0;
#ifdef VAR_RANGES
		logval("wires:verb", ((P0 *)_this)->verb);
#endif
		;
		/* merge: t = 0(129, 122, 129) */
		reached[0][122] = 1;
		(trpt+1)->bup.ovals[2] = ((int)((P0 *)_this)->t);
		((P0 *)_this)->t = 0;
#ifdef VAR_RANGES
		logval("wires:t", ((int)((P0 *)_this)->t));
#endif
		;
		/* merge: saw = 0(129, 123, 129) */
		reached[0][123] = 1;
		(trpt+1)->bup.ovals[3] = ((int)((P0 *)_this)->saw);
		((P0 *)_this)->saw = 0;
#ifdef VAR_RANGES
		logval("wires:saw", ((int)((P0 *)_this)->saw));
#endif
		;
		/* merge: servable = 0(129, 124, 129) */
		reached[0][124] = 1;
		(trpt+1)->bup.ovals[4] = ((int)((P0 *)_this)->servable);
		((P0 *)_this)->servable = 0;
#ifdef VAR_RANGES
		logval("wires:servable", ((int)((P0 *)_this)->servable));
#endif
		;
		/* merge: result = 0(129, 125, 129) */
		reached[0][125] = 1;
		(trpt+1)->bup.ovals[5] = ((int)((P0 *)_this)->result);
		((P0 *)_this)->result = 0;
#ifdef VAR_RANGES
		logval("wires:result", ((int)((P0 *)_this)->result));
#endif
		;
		/* merge: answer = 0(129, 126, 129) */
		reached[0][126] = 1;
		(trpt+1)->bup.ovals[6] = ((P0 *)_this)->answer;
		((P0 *)_this)->answer = 0;
#ifdef VAR_RANGES
		logval("wires:answer", ((P0 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(0, 130, 129) */
		reached[0][130] = 1;
		;
		_m = 3; goto P999; /* 9 */
	case 196: // STATE 110 - lease.pml:300 - [((verb==invalidate))] (0:0:1 - 1)
		IfNotBlocked
		reached[0][110] = 1;
		if (!((((P0 *)_this)->verb==1)))
			continue;
		_m = 3; goto P999; /* 0 */
	case 197: // STATE 111 - lease.pml:250 - [entry = 0] (0:117:3 - 1)
		IfNotBlocked
		reached[0][111] = 1;
		(trpt+1)->bup.ovals = grab_ints(3);
		(trpt+1)->bup.ovals[0] = ((int)now.entry);
		now.entry = 0;
#ifdef VAR_RANGES
		logval("entry", ((int)now.entry));
#endif
		;
		/* merge: version = 0(117, 112, 117) */
		reached[0][112] = 1;
		(trpt+1)->bup.ovals[1] = ((int)now.version);
		now.version = 0;
#ifdef VAR_RANGES
		logval("version", ((int)now.version));
#endif
		;
		/* merge: fresh = 0(117, 113, 117) */
		reached[0][113] = 1;
		(trpt+1)->bup.ovals[2] = ((int)now.fresh);
		now.fresh = 0;
#ifdef VAR_RANGES
		logval("fresh", ((int)now.fresh));
#endif
		;
		_m = 3; goto P999; /* 2 */
	case 198: // STATE 114 - lease.pml:244 - [lock = 0] (0:129:9 - 1)
		IfNotBlocked
		reached[0][114] = 1;
		(trpt+1)->bup.ovals = grab_ints(9);
		(trpt+1)->bup.ovals[0] = ((int)now.lock);
		now.lock = 0;
#ifdef VAR_RANGES
		logval("lock", ((int)now.lock));
#endif
		;
		/* merge: holder = 0(129, 115, 129) */
		reached[0][115] = 1;
		(trpt+1)->bup.ovals[1] = ((int)now.holder);
		now.holder = 0;
#ifdef VAR_RANGES
		logval("holder", ((int)now.holder));
#endif
		;
		/* merge: resting = 0(129, 116, 129) */
		reached[0][116] = 1;
		(trpt+1)->bup.ovals[2] = ((int)now.resting);
		now.resting = 0;
#ifdef VAR_RANGES
		logval("resting", ((int)now.resting));
#endif
		;
		/* merge: .(goto)(129, 120, 129) */
		reached[0][120] = 1;
		;
		/* merge: verb = 0(129, 121, 129) */
		reached[0][121] = 1;
		(trpt+1)->bup.ovals[3] = ((P0 *)_this)->verb;
		((P0 *)_this)->verb = 0;
#ifdef VAR_RANGES
		logval("wires:verb", ((P0 *)_this)->verb);
#endif
		;
		/* merge: t = 0(129, 122, 129) */
		reached[0][122] = 1;
		(trpt+1)->bup.ovals[4] = ((int)((P0 *)_this)->t);
		((P0 *)_this)->t = 0;
#ifdef VAR_RANGES
		logval("wires:t", ((int)((P0 *)_this)->t));
#endif
		;
		/* merge: saw = 0(129, 123, 129) */
		reached[0][123] = 1;
		(trpt+1)->bup.ovals[5] = ((int)((P0 *)_this)->saw);
		((P0 *)_this)->saw = 0;
#ifdef VAR_RANGES
		logval("wires:saw", ((int)((P0 *)_this)->saw));
#endif
		;
		/* merge: servable = 0(129, 124, 129) */
		reached[0][124] = 1;
		(trpt+1)->bup.ovals[6] = ((int)((P0 *)_this)->servable);
		((P0 *)_this)->servable = 0;
#ifdef VAR_RANGES
		logval("wires:servable", ((int)((P0 *)_this)->servable));
#endif
		;
		/* merge: result = 0(129, 125, 129) */
		reached[0][125] = 1;
		(trpt+1)->bup.ovals[7] = ((int)((P0 *)_this)->result);
		((P0 *)_this)->result = 0;
#ifdef VAR_RANGES
		logval("wires:result", ((int)((P0 *)_this)->result));
#endif
		;
		/* merge: answer = 0(129, 126, 129) */
		reached[0][126] = 1;
		(trpt+1)->bup.ovals[8] = ((P0 *)_this)->answer;
		((P0 *)_this)->answer = 0;
#ifdef VAR_RANGES
		logval("wires:answer", ((P0 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(0, 130, 129) */
		reached[0][130] = 1;
		;
		_m = 3; goto P999; /* 10 */
	case 199: // STATE 121 - lease.pml:302 - [verb = 0] (0:129:6 - 23)
		IfNotBlocked
		reached[0][121] = 1;
		(trpt+1)->bup.ovals = grab_ints(6);
		(trpt+1)->bup.ovals[0] = ((P0 *)_this)->verb;
		((P0 *)_this)->verb = 0;
#ifdef VAR_RANGES
		logval("wires:verb", ((P0 *)_this)->verb);
#endif
		;
		/* merge: t = 0(129, 122, 129) */
		reached[0][122] = 1;
		(trpt+1)->bup.ovals[1] = ((int)((P0 *)_this)->t);
		((P0 *)_this)->t = 0;
#ifdef VAR_RANGES
		logval("wires:t", ((int)((P0 *)_this)->t));
#endif
		;
		/* merge: saw = 0(129, 123, 129) */
		reached[0][123] = 1;
		(trpt+1)->bup.ovals[2] = ((int)((P0 *)_this)->saw);
		((P0 *)_this)->saw = 0;
#ifdef VAR_RANGES
		logval("wires:saw", ((int)((P0 *)_this)->saw));
#endif
		;
		/* merge: servable = 0(129, 124, 129) */
		reached[0][124] = 1;
		(trpt+1)->bup.ovals[3] = ((int)((P0 *)_this)->servable);
		((P0 *)_this)->servable = 0;
#ifdef VAR_RANGES
		logval("wires:servable", ((int)((P0 *)_this)->servable));
#endif
		;
		/* merge: result = 0(129, 125, 129) */
		reached[0][125] = 1;
		(trpt+1)->bup.ovals[4] = ((int)((P0 *)_this)->result);
		((P0 *)_this)->result = 0;
#ifdef VAR_RANGES
		logval("wires:result", ((int)((P0 *)_this)->result));
#endif
		;
		/* merge: answer = 0(129, 126, 129) */
		reached[0][126] = 1;
		(trpt+1)->bup.ovals[5] = ((P0 *)_this)->answer;
		((P0 *)_this)->answer = 0;
#ifdef VAR_RANGES
		logval("wires:answer", ((P0 *)_this)->answer);
#endif
		;
		/* merge: .(goto)(0, 130, 129) */
		reached[0][130] = 1;
		;
		_m = 3; goto P999; /* 6 */
	case 200: // STATE 132 - lease.pml:315 - [-end-] (0:0:0 - 1)
		IfNotBlocked
		reached[0][132] = 1;
		if (!delproc(1, II)) continue;
		_m = 3; goto P999; /* 0 */
	case  _T5:	/* np_ */
		if (!((!(trpt->o_pm&4) && !(trpt->tau&128))))
			continue;
		/* else fall through */
	case  _T2:	/* true */
		_m = 3; goto P999;
#undef rand
	}

