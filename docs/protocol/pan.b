	switch (t->back) {
	default: Uerror("bad return move");
	case  0: goto R999; /* nothing to undo */

		 /* PROC :init: */

	case 3: // STATE 1
		;
		now.entry = trpt->bup.oval;
		;
		goto R999;

	case 4: // STATE 3
		;
		now.fresh = trpt->bup.ovals[1];
		now.entry = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 2);
		goto R999;
;
		;
		
	case 6: // STATE 8
		;
		;
		delproc(0, now._nr_pr-1);
		;
		goto R999;

	case 7: // STATE 9
		;
		((P5 *)_this)->n = trpt->bup.oval;
		;
		goto R999;

	case 8: // STATE 15
		;
		((P5 *)_this)->n = trpt->bup.oval;
		;
		goto R999;

	case 9: // STATE 17
		;
		p_restor(II);
		;
		;
		goto R999;

		 /* PROC joiner */

	case 10: // STATE 2
		;
		((P4 *)_this)->before = trpt->bup.oval;
		;
		goto R999;
;
		;
		
	case 12: // STATE 5
		;
		sv_restor();
;
		;
		goto R999;
;
		
	case 13: // STATE 10
		goto R999;
;
		;
		
	case 15: // STATE 7
		;
		sv_restor();
;
		;
		goto R999;
;
		
	case 16: // STATE 8
		goto R999;

	case 17: // STATE 12
		;
		p_restor(II);
		;
		;
		goto R999;

		 /* PROC caller */

	case 18: // STATE 3
		;
		((P3 *)_this)->saw = trpt->bup.oval;
		;
		goto R999;
;
		
	case 19: // STATE 4
		goto R999;
;
		
	case 20: // STATE 11
		goto R999;

	case 21: // STATE 7
		;
		((P3 *)_this)->servable = trpt->bup.oval;
		;
		goto R999;
;
		;
		
	case 23: // STATE 9
		;
		sv_restor();
;
		;
		goto R999;
;
		
	case 24: // STATE 16
		goto R999;

	case 25: // STATE 13
		;
		((P3 *)_this)->saw = trpt->bup.oval;
		;
		goto R999;

	case 26: // STATE 14
		;
		((P3 *)_this)->saw = trpt->bup.oval;
		;
		goto R999;
;
		
	case 27: // STATE 18
		goto R999;
;
		
	case 28: // STATE 26
		goto R999;
;
		;
		;
		;
		
	case 31: // STATE 21
		;
		_m = unsend(now.wire[0]);
		;
		goto R999;
;
		;
		
	case 33: // STATE 30
		;
		sv_restor();
;
		;
		goto R999;

	case 34: // STATE 36
		;
		((P3 *)_this)->answer = trpt->bup.ovals[1];
		now.lock = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 2);
		goto R999;

	case 35: // STATE 36
		;
		((P3 *)_this)->answer = trpt->bup.oval;
		;
		goto R999;
;
		;
		
	case 37: // STATE 38
		;
		sv_restor();
;
		;
		goto R999;

	case 38: // STATE 39
		;
		((P3 *)_this)->answer = trpt->bup.oval;
		;
		goto R999;
;
		;
		
	case 40: // STATE 48
		;
		((P3 *)_this)->answer = trpt->bup.ovals[3];
		now.resting = trpt->bup.ovals[2];
		now.holder = trpt->bup.ovals[1];
		now.lock = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 4);
		goto R999;
;
		;
		
	case 42: // STATE 50
		;
		sv_restor();
;
		;
		goto R999;

	case 43: // STATE 57
		;
		((P3 *)_this)->answer = trpt->bup.ovals[3];
		now.resting = trpt->bup.ovals[2];
		now.holder = trpt->bup.ovals[1];
		now.lock = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 4);
		goto R999;

	case 44: // STATE 59
		;
		((P3 *)_this)->answer = trpt->bup.oval;
		;
		goto R999;
;
		;
		
	case 46: // STATE 66
		;
		sv_restor();
;
		;
		goto R999;

	case 47: // STATE 101
		;
		((P3 *)_this)->answer = trpt->bup.ovals[2];
		((P3 *)_this)->answer = trpt->bup.ovals[1];
		now.lock = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 4);
		goto R999;

	case 48: // STATE 101
		;
		((P3 *)_this)->answer = trpt->bup.ovals[1];
		((P3 *)_this)->answer = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 3);
		goto R999;
;
		;
		
	case 50: // STATE 74
		;
		sv_restor();
;
		;
		goto R999;

	case 51: // STATE 101
		;
		((P3 *)_this)->answer = trpt->bup.ovals[1];
		((P3 *)_this)->answer = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 3);
		goto R999;
;
		;
		
	case 53: // STATE 101
		;
		((P3 *)_this)->answer = trpt->bup.ovals[4];
		((P3 *)_this)->answer = trpt->bup.ovals[3];
		now.resting = trpt->bup.ovals[2];
		now.holder = trpt->bup.ovals[1];
		now.lock = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 6);
		goto R999;
;
		;
		
	case 55: // STATE 86
		;
		sv_restor();
;
		;
		goto R999;

	case 56: // STATE 101
		;
		((P3 *)_this)->answer = trpt->bup.ovals[4];
		((P3 *)_this)->answer = trpt->bup.ovals[3];
		now.resting = trpt->bup.ovals[2];
		now.holder = trpt->bup.ovals[1];
		now.lock = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 6);
		goto R999;

	case 57: // STATE 101
		;
		((P3 *)_this)->answer = trpt->bup.ovals[1];
		((P3 *)_this)->answer = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 3);
		goto R999;

	case 58: // STATE 101
		;
		((P3 *)_this)->answer = trpt->bup.oval;
		;
		goto R999;
;
		;
		;
		;
		
	case 61: // STATE 108
		;
		((P3 *)_this)->answer = trpt->bup.oval;
		_m = unsend(now.wire[0]);
		;
		goto R999;

	case 62: // STATE 108
		;
		((P3 *)_this)->answer = trpt->bup.oval;
		;
		goto R999;
;
		
	case 63: // STATE 111
		goto R999;
;
		
	case 64: // STATE 127
		goto R999;
;
		;
		;
		;
		
	case 67: // STATE 116
		;
		sv_restor();
;
		;
		goto R999;

	case 68: // STATE 118
		;
		sv_restor();
;
		;
		goto R999;
;
		
	case 69: // STATE 121
		goto R999;

	case 70: // STATE 124
		;
		now.joinable = trpt->bup.ovals[1];
		((P3 *)_this)->servable = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 2);
		goto R999;
;
		
	case 71: // STATE 125
		goto R999;
;
		;
		;
		;
		
	case 74: // STATE 134
		;
		((P3 *)_this)->result = trpt->bup.oval;
		;
		goto R999;
;
		
	case 75: // STATE 135
		goto R999;
;
		
	case 76: // STATE 143
		goto R999;
;
		;
		;
		;
		
	case 79: // STATE 138
		;
		_m = unsend(now.wire[0]);
		;
		goto R999;

	case 80: // STATE 148
		;
		((P3 *)_this)->answer = trpt->bup.oval;
		;
		goto R999;
;
		;
		
	case 82: // STATE 151
		;
		sv_restor();
;
		;
		goto R999;

	case 83: // STATE 155
		;
		((P3 *)_this)->answer = trpt->bup.oval;
		;
		goto R999;
;
		;
		
	case 85: // STATE 160
		;
		sv_restor();
;
		;
		goto R999;

	case 86: // STATE 171
		;
		now.joinable = trpt->bup.oval;
		;
		goto R999;
;
		
	case 87: // STATE 173
		goto R999;
;
		
	case 88: // STATE 181
		goto R999;
;
		;
		;
		;
		
	case 91: // STATE 176
		;
		_m = unsend(now.wire[0]);
		;
		goto R999;
;
		;
		
	case 93: // STATE 185
		;
		sv_restor();
;
		;
		goto R999;

	case 94: // STATE 186
		;
		((P3 *)_this)->answer = trpt->bup.oval;
		;
		goto R999;
;
		
	case 95: // STATE 206
		goto R999;

	case 96: // STATE 191
		;
		now.fresh = trpt->bup.ovals[2];
		now.version = trpt->bup.ovals[1];
		now.entry = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 3);
		goto R999;

	case 97: // STATE 196
		;
		((P3 *)_this)->answer = trpt->bup.ovals[3];
		now.resting = trpt->bup.ovals[2];
		now.holder = trpt->bup.ovals[1];
		now.lock = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 4);
		goto R999;
;
		;
		
	case 99: // STATE 199
		;
		sv_restor();
;
		;
		goto R999;
;
		;
		
	case 101: // STATE 201
		;
		sv_restor();
;
		;
		goto R999;

	case 102: // STATE 204
		;
		((P3 *)_this)->answer = trpt->bup.oval;
		;
		goto R999;
;
		;
		;
		;
		
	case 105: // STATE 215
		;
		((P3 *)_this)->answer = trpt->bup.ovals[0];
		_m = unsend(now.wire[0]);
		;
		ungrab_ints(trpt->bup.ovals, 2);
		goto R999;
;
		;
		;
		
	case 107: // STATE 219
		goto R999;
;
		
	case 108: // STATE 227
		goto R999;
;
		;
		;
		;
		
	case 111: // STATE 222
		;
		_m = unsend(now.wire[0]);
		;
		goto R999;
;
		;
		
	case 113: // STATE 231
		;
		sv_restor();
;
		;
		goto R999;

	case 114: // STATE 245
		;
		((P3 *)_this)->answer = trpt->bup.ovals[1];
		((P3 *)_this)->answer = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 3);
		goto R999;

	case 115: // STATE 245
		;
		((P3 *)_this)->answer = trpt->bup.oval;
		;
		goto R999;

	case 116: // STATE 245
		;
		((P3 *)_this)->answer = trpt->bup.ovals[4];
		((P3 *)_this)->answer = trpt->bup.ovals[3];
		now.resting = trpt->bup.ovals[2];
		now.holder = trpt->bup.ovals[1];
		now.lock = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 6);
		goto R999;

	case 117: // STATE 239
		;
		sv_restor();
;
		;
		goto R999;

	case 118: // STATE 245
		;
		((P3 *)_this)->answer = trpt->bup.ovals[1];
		((P3 *)_this)->answer = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 3);
		goto R999;
;
		
	case 119: // STATE 250
		goto R999;
;
		
	case 120: // STATE 258
		goto R999;
;
		;
		;
		;
		
	case 123: // STATE 253
		;
		_m = unsend(now.wire[0]);
		;
		goto R999;

	case 124: // STATE 263
		;
		now.resting = trpt->bup.ovals[1];
		now.lock = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 2);
		goto R999;

	case 125: // STATE 277
		;
		((P3 *)_this)->answer = trpt->bup.ovals[2];
		((P3 *)_this)->answer = trpt->bup.ovals[1];
		now.holder = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 4);
		goto R999;

	case 126: // STATE 277
		;
		((P3 *)_this)->answer = trpt->bup.ovals[1];
		((P3 *)_this)->answer = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 3);
		goto R999;

	case 127: // STATE 277
		;
		((P3 *)_this)->answer = trpt->bup.oval;
		;
		goto R999;

	case 128: // STATE 271
		;
		sv_restor();
;
		;
		goto R999;

	case 129: // STATE 277
		;
		((P3 *)_this)->answer = trpt->bup.ovals[1];
		((P3 *)_this)->answer = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 3);
		goto R999;

	case 130: // STATE 280
		;
		now.joinable = trpt->bup.ovals[1];
		now.outcome = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 4);
		goto R999;
;
		
	case 131: // STATE 286
		goto R999;

	case 132: // STATE 283
		;
		now.joinable = trpt->bup.ovals[1];
		now.outcome = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 4);
		goto R999;

	case 133: // STATE 289
		;
		now.ended = trpt->bup.oval;
		;
		goto R999;

	case 134: // STATE 290
		;
		p_restor(II);
		;
		;
		goto R999;

		 /* PROC writer */
;
		;
		
	case 136: // STATE 2
		;
		now.source = trpt->bup.oval;
		;
		goto R999;
;
		
	case 137: // STATE 3
		goto R999;
;
		
	case 138: // STATE 11
		goto R999;
;
		;
		;
		;
		
	case 141: // STATE 6
		;
		_m = unsend(now.wire[0]);
		;
		goto R999;

	case 142: // STATE 16
		;
		now.fresh = trpt->bup.ovals[2];
		now.version = trpt->bup.ovals[1];
		now.entry = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 3);
		goto R999;

	case 143: // STATE 22
		;
		now.invalidated = trpt->bup.ovals[3];
		now.resting = trpt->bup.ovals[2];
		now.holder = trpt->bup.ovals[1];
		now.lock = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 4);
		goto R999;

	case 144: // STATE 29
		;
		p_restor(II);
		;
		;
		goto R999;

		 /* PROC time */
;
		;
		
	case 146: // STATE 3
		;
		now.joinable = trpt->bup.oval;
		;
		goto R999;

	case 147: // STATE 9
		;
		now.resting = trpt->bup.ovals[2];
		now.holder = trpt->bup.ovals[1];
		now.lock = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 3);
		goto R999;

	case 148: // STATE 13
		;
		now.fresh = trpt->bup.oval;
		;
		goto R999;

	case 149: // STATE 18
		;
		now.fresh = trpt->bup.ovals[2];
		now.version = trpt->bup.ovals[1];
		now.entry = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 3);
		goto R999;

	case 150: // STATE 23
		;
		p_restor(II);
		;
		;
		goto R999;

		 /* PROC wires */
;
		;
		
	case 152: // STATE 2
		;
		XX = 1;
		unrecv(now.wire[0], XX-1, 0, ((P0 *)_this)->verb, 1);
		unrecv(now.wire[0], XX-1, 1, ((int)((P0 *)_this)->t), 0);
		unrecv(now.wire[0], XX-1, 2, ((int)((P0 *)_this)->saw), 0);
		unrecv(now.wire[0], XX-1, 3, ((int)((P0 *)_this)->servable), 0);
		unrecv(now.wire[0], XX-1, 4, ((int)((P0 *)_this)->result), 0);
		((P0 *)_this)->verb = trpt->bup.ovals[0];
		((P0 *)_this)->t = trpt->bup.ovals[1];
		((P0 *)_this)->saw = trpt->bup.ovals[2];
		((P0 *)_this)->servable = trpt->bup.ovals[3];
		((P0 *)_this)->result = trpt->bup.ovals[4];
		;
		;
		ungrab_ints(trpt->bup.ovals, 5);
		goto R999;
;
		;
		;
		;
		
	case 155: // STATE 5
		;
		sv_restor();
;
		;
		goto R999;

	case 156: // STATE 126
		;
		((P0 *)_this)->answer = trpt->bup.ovals[7];
		((P0 *)_this)->result = trpt->bup.ovals[6];
		((P0 *)_this)->servable = trpt->bup.ovals[5];
		((P0 *)_this)->saw = trpt->bup.ovals[4];
		((P0 *)_this)->t = trpt->bup.ovals[3];
		((P0 *)_this)->verb = trpt->bup.ovals[2];
		((P0 *)_this)->answer = trpt->bup.ovals[1];
		now.lock = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 9);
		goto R999;

	case 157: // STATE 126
		;
		((P0 *)_this)->answer = trpt->bup.ovals[6];
		((P0 *)_this)->result = trpt->bup.ovals[5];
		((P0 *)_this)->servable = trpt->bup.ovals[4];
		((P0 *)_this)->saw = trpt->bup.ovals[3];
		((P0 *)_this)->t = trpt->bup.ovals[2];
		((P0 *)_this)->verb = trpt->bup.ovals[1];
		((P0 *)_this)->answer = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 8);
		goto R999;
;
		;
		
	case 159: // STATE 13
		;
		sv_restor();
;
		;
		goto R999;

	case 160: // STATE 126
		;
		((P0 *)_this)->answer = trpt->bup.ovals[6];
		((P0 *)_this)->result = trpt->bup.ovals[5];
		((P0 *)_this)->servable = trpt->bup.ovals[4];
		((P0 *)_this)->saw = trpt->bup.ovals[3];
		((P0 *)_this)->t = trpt->bup.ovals[2];
		((P0 *)_this)->verb = trpt->bup.ovals[1];
		((P0 *)_this)->answer = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 8);
		goto R999;
;
		;
		
	case 162: // STATE 126
		;
		((P0 *)_this)->answer = trpt->bup.ovals[9];
		((P0 *)_this)->result = trpt->bup.ovals[8];
		((P0 *)_this)->servable = trpt->bup.ovals[7];
		((P0 *)_this)->saw = trpt->bup.ovals[6];
		((P0 *)_this)->t = trpt->bup.ovals[5];
		((P0 *)_this)->verb = trpt->bup.ovals[4];
		((P0 *)_this)->answer = trpt->bup.ovals[3];
		now.resting = trpt->bup.ovals[2];
		now.holder = trpt->bup.ovals[1];
		now.lock = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 11);
		goto R999;
;
		;
		
	case 164: // STATE 25
		;
		sv_restor();
;
		;
		goto R999;

	case 165: // STATE 126
		;
		((P0 *)_this)->answer = trpt->bup.ovals[9];
		((P0 *)_this)->result = trpt->bup.ovals[8];
		((P0 *)_this)->servable = trpt->bup.ovals[7];
		((P0 *)_this)->saw = trpt->bup.ovals[6];
		((P0 *)_this)->t = trpt->bup.ovals[5];
		((P0 *)_this)->verb = trpt->bup.ovals[4];
		((P0 *)_this)->answer = trpt->bup.ovals[3];
		now.resting = trpt->bup.ovals[2];
		now.holder = trpt->bup.ovals[1];
		now.lock = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 11);
		goto R999;

	case 166: // STATE 126
		;
		((P0 *)_this)->answer = trpt->bup.ovals[6];
		((P0 *)_this)->result = trpt->bup.ovals[5];
		((P0 *)_this)->servable = trpt->bup.ovals[4];
		((P0 *)_this)->saw = trpt->bup.ovals[3];
		((P0 *)_this)->t = trpt->bup.ovals[2];
		((P0 *)_this)->verb = trpt->bup.ovals[1];
		((P0 *)_this)->answer = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 8);
		goto R999;
;
		;
		
	case 168: // STATE 126
		;
		((P0 *)_this)->answer = trpt->bup.ovals[6];
		((P0 *)_this)->result = trpt->bup.ovals[5];
		((P0 *)_this)->servable = trpt->bup.ovals[4];
		((P0 *)_this)->saw = trpt->bup.ovals[3];
		((P0 *)_this)->t = trpt->bup.ovals[2];
		((P0 *)_this)->verb = trpt->bup.ovals[1];
		((P0 *)_this)->answer = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 9);
		goto R999;
;
		;
		
	case 170: // STATE 46
		;
		sv_restor();
;
		;
		goto R999;

	case 171: // STATE 126
		;
		((P0 *)_this)->answer = trpt->bup.ovals[6];
		((P0 *)_this)->result = trpt->bup.ovals[5];
		((P0 *)_this)->servable = trpt->bup.ovals[4];
		((P0 *)_this)->saw = trpt->bup.ovals[3];
		((P0 *)_this)->t = trpt->bup.ovals[2];
		((P0 *)_this)->verb = trpt->bup.ovals[1];
		((P0 *)_this)->answer = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 8);
		goto R999;
;
		;
		;
		;
		
	case 174: // STATE 56
		;
		sv_restor();
;
		;
		goto R999;

	case 175: // STATE 126
		;
		((P0 *)_this)->answer = trpt->bup.ovals[6];
		((P0 *)_this)->result = trpt->bup.ovals[5];
		((P0 *)_this)->servable = trpt->bup.ovals[4];
		((P0 *)_this)->saw = trpt->bup.ovals[3];
		((P0 *)_this)->t = trpt->bup.ovals[2];
		((P0 *)_this)->verb = trpt->bup.ovals[1];
		((P0 *)_this)->answer = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 8);
		goto R999;

	case 176: // STATE 62
		;
		now.fresh = trpt->bup.ovals[2];
		now.version = trpt->bup.ovals[1];
		now.entry = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 3);
		goto R999;

	case 177: // STATE 126
		;
		((P0 *)_this)->answer = trpt->bup.ovals[9];
		((P0 *)_this)->result = trpt->bup.ovals[8];
		((P0 *)_this)->servable = trpt->bup.ovals[7];
		((P0 *)_this)->saw = trpt->bup.ovals[6];
		((P0 *)_this)->t = trpt->bup.ovals[5];
		((P0 *)_this)->verb = trpt->bup.ovals[4];
		((P0 *)_this)->answer = trpt->bup.ovals[3];
		now.resting = trpt->bup.ovals[2];
		now.holder = trpt->bup.ovals[1];
		now.lock = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 11);
		goto R999;
;
		;
		
	case 179: // STATE 70
		;
		sv_restor();
;
		;
		goto R999;
;
		;
		
	case 181: // STATE 72
		;
		sv_restor();
;
		;
		goto R999;

	case 182: // STATE 126
		;
		((P0 *)_this)->answer = trpt->bup.ovals[6];
		((P0 *)_this)->result = trpt->bup.ovals[5];
		((P0 *)_this)->servable = trpt->bup.ovals[4];
		((P0 *)_this)->saw = trpt->bup.ovals[3];
		((P0 *)_this)->t = trpt->bup.ovals[2];
		((P0 *)_this)->verb = trpt->bup.ovals[1];
		((P0 *)_this)->answer = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 8);
		goto R999;
;
		;
		;
		;
		
	case 185: // STATE 81
		;
		sv_restor();
;
		;
		goto R999;

	case 186: // STATE 126
		;
		((P0 *)_this)->answer = trpt->bup.ovals[6];
		((P0 *)_this)->result = trpt->bup.ovals[5];
		((P0 *)_this)->servable = trpt->bup.ovals[4];
		((P0 *)_this)->saw = trpt->bup.ovals[3];
		((P0 *)_this)->t = trpt->bup.ovals[2];
		((P0 *)_this)->verb = trpt->bup.ovals[1];
		((P0 *)_this)->answer = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 8);
		goto R999;

	case 187: // STATE 126
		;
		((P0 *)_this)->answer = trpt->bup.ovals[9];
		((P0 *)_this)->result = trpt->bup.ovals[8];
		((P0 *)_this)->servable = trpt->bup.ovals[7];
		((P0 *)_this)->saw = trpt->bup.ovals[6];
		((P0 *)_this)->t = trpt->bup.ovals[5];
		((P0 *)_this)->verb = trpt->bup.ovals[4];
		((P0 *)_this)->answer = trpt->bup.ovals[3];
		now.resting = trpt->bup.ovals[2];
		now.holder = trpt->bup.ovals[1];
		now.lock = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 11);
		goto R999;

	case 188: // STATE 89
		;
		sv_restor();
;
		;
		goto R999;

	case 189: // STATE 126
		;
		((P0 *)_this)->answer = trpt->bup.ovals[6];
		((P0 *)_this)->result = trpt->bup.ovals[5];
		((P0 *)_this)->servable = trpt->bup.ovals[4];
		((P0 *)_this)->saw = trpt->bup.ovals[3];
		((P0 *)_this)->t = trpt->bup.ovals[2];
		((P0 *)_this)->verb = trpt->bup.ovals[1];
		((P0 *)_this)->answer = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 8);
		goto R999;
;
		;
		
	case 191: // STATE 97
		;
		now.resting = trpt->bup.ovals[1];
		now.lock = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 2);
		goto R999;

	case 192: // STATE 126
		;
		((P0 *)_this)->answer = trpt->bup.ovals[7];
		((P0 *)_this)->result = trpt->bup.ovals[6];
		((P0 *)_this)->servable = trpt->bup.ovals[5];
		((P0 *)_this)->saw = trpt->bup.ovals[4];
		((P0 *)_this)->t = trpt->bup.ovals[3];
		((P0 *)_this)->verb = trpt->bup.ovals[2];
		((P0 *)_this)->answer = trpt->bup.ovals[1];
		now.holder = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 10);
		goto R999;

	case 193: // STATE 126
		;
		((P0 *)_this)->answer = trpt->bup.ovals[6];
		((P0 *)_this)->result = trpt->bup.ovals[5];
		((P0 *)_this)->servable = trpt->bup.ovals[4];
		((P0 *)_this)->saw = trpt->bup.ovals[3];
		((P0 *)_this)->t = trpt->bup.ovals[2];
		((P0 *)_this)->verb = trpt->bup.ovals[1];
		((P0 *)_this)->answer = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 8);
		goto R999;

	case 194: // STATE 105
		;
		sv_restor();
;
		;
		goto R999;

	case 195: // STATE 126
		;
		((P0 *)_this)->answer = trpt->bup.ovals[6];
		((P0 *)_this)->result = trpt->bup.ovals[5];
		((P0 *)_this)->servable = trpt->bup.ovals[4];
		((P0 *)_this)->saw = trpt->bup.ovals[3];
		((P0 *)_this)->t = trpt->bup.ovals[2];
		((P0 *)_this)->verb = trpt->bup.ovals[1];
		((P0 *)_this)->answer = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 8);
		goto R999;
;
		;
		
	case 197: // STATE 113
		;
		now.fresh = trpt->bup.ovals[2];
		now.version = trpt->bup.ovals[1];
		now.entry = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 3);
		goto R999;

	case 198: // STATE 126
		;
		((P0 *)_this)->answer = trpt->bup.ovals[8];
		((P0 *)_this)->result = trpt->bup.ovals[7];
		((P0 *)_this)->servable = trpt->bup.ovals[6];
		((P0 *)_this)->saw = trpt->bup.ovals[5];
		((P0 *)_this)->t = trpt->bup.ovals[4];
		((P0 *)_this)->verb = trpt->bup.ovals[3];
		now.resting = trpt->bup.ovals[2];
		now.holder = trpt->bup.ovals[1];
		now.lock = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 9);
		goto R999;

	case 199: // STATE 126
		;
		((P0 *)_this)->answer = trpt->bup.ovals[5];
		((P0 *)_this)->result = trpt->bup.ovals[4];
		((P0 *)_this)->servable = trpt->bup.ovals[3];
		((P0 *)_this)->saw = trpt->bup.ovals[2];
		((P0 *)_this)->t = trpt->bup.ovals[1];
		((P0 *)_this)->verb = trpt->bup.ovals[0];
		;
		ungrab_ints(trpt->bup.ovals, 6);
		goto R999;

	case 200: // STATE 132
		;
		p_restor(II);
		;
		;
		goto R999;
	}

