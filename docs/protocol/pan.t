#ifdef PEG
struct T_SRC {
	char *fl; int ln;
} T_SRC[NTRANS];

void
tr_2_src(int m, char *file, int ln)
{	T_SRC[m].fl = file;
	T_SRC[m].ln = ln;
}

void
putpeg(int n, int m)
{	printf("%5d	trans %4d ", m, n);
	printf("%s:%d\n",
		T_SRC[n].fl, T_SRC[n].ln);
}
#endif

void
settable(void)
{	Trans *T;
	Trans *settr(int, int, int, int, int, char *, int, int, int);

	trans = (Trans ***) emalloc(7*sizeof(Trans **));

	/* proctype 5: :init: */

	trans[5] = (Trans **) emalloc(18*sizeof(Trans *));

	T = trans[ 5][16] = settr(501,2,0,0,0,"ATOMIC", 1, 2, 0);
	T->nxt	= settr(501,2,5,0,0,"ATOMIC", 1, 2, 0);
	T = trans[5][5] = settr(490,2,0,0,0,"IF", 1, 2, 0);
	T = T->nxt	= settr(490,2,1,0,0,"IF", 1, 2, 0);
	T = T->nxt	= settr(490,2,2,0,0,"IF", 1, 2, 0);
	    T->nxt	= settr(490,2,4,0,0,"IF", 1, 2, 0);
	trans[5][1]	= settr(486,2,12,3,3,"entry = (2+1)", 1, 2, 0);
	trans[5][6]	= settr(491,2,12,1,0,".(goto)", 1, 2, 0);
	trans[5][2]	= settr(487,2,12,4,4,"entry = (2+1)", 1, 2, 0); /* m: 3 -> 0,12 */
	reached5[3] = 1;
	trans[5][3]	= settr(0,0,0,0,0,"fresh = 1",0,0,0);
	trans[5][4]	= settr(489,2,12,1,0,"(1)", 1, 2, 0);
	trans[5][13]	= settr(498,2,12,1,0,".(goto)", 1, 2, 0);
	T = trans[5][12] = settr(497,2,0,0,0,"DO", 1, 2, 0);
	T = T->nxt	= settr(497,2,7,0,0,"DO", 1, 2, 0);
	    T->nxt	= settr(497,2,10,0,0,"DO", 1, 2, 0);
	trans[5][7]	= settr(492,2,8,5,0,"((n<=2))", 1, 2, 0);
	trans[5][8]	= settr(493,2,9,6,6,"(run caller(n))", 1, 2, 0);
	trans[5][9]	= settr(494,2,12,7,7,"n = (n+1)", 1, 2, 0);
	trans[5][10]	= settr(495,2,14,2,0,"else", 1, 2, 0);
	trans[5][11]	= settr(496,2,14,1,0,"goto :b4", 1, 2, 0);
	trans[5][14]	= settr(499,2,15,1,0,"break", 1, 2, 0);
	trans[5][15]	= settr(500,0,17,8,8,"n = 0", 1, 2, 0);
	trans[5][17]	= settr(502,0,0,9,9,"-end-", 0, 3500, 0);

	/* proctype 4: joiner */

	trans[4] = (Trans **) emalloc(13*sizeof(Trans *));

	T = trans[ 4][3] = settr(476,2,0,0,0,"ATOMIC", 1, 2, 0);
	T->nxt	= settr(476,2,1,0,0,"ATOMIC", 1, 2, 0);
	trans[4][1]	= settr(474,4,11,10,10,"(joinable)", 1, 2, 0); /* m: 2 -> 11,0 */
	reached4[2] = 1;
	trans[4][2]	= settr(0,0,0,0,0,"before = invalidated",0,0,0);
	T = trans[ 4][11] = settr(484,2,0,0,0,"ATOMIC", 1, 2, 0);
	T->nxt	= settr(484,2,9,0,0,"ATOMIC", 1, 2, 0);
	T = trans[4][9] = settr(482,2,0,0,0,"IF", 1, 2, 0);
	T = T->nxt	= settr(482,2,4,0,0,"IF", 1, 2, 0);
	    T->nxt	= settr(482,2,6,0,0,"IF", 1, 2, 0);
	trans[4][4]	= settr(477,2,5,11,0,"((outcome==1))", 1, 2, 0);
	trans[4][5]	= settr(478,2,10,12,12,"{c_code28}", 1, 2, 0);
	trans[4][10]	= settr(483,0,12,13,13,".(goto)", 1, 2, 0);
	trans[4][6]	= settr(479,2,7,14,0,"((outcome>=(2+0)))", 1, 2, 0);
	trans[4][7]	= settr(480,2,8,15,15,"{c_code29}", 1, 2, 0);
	trans[4][8]	= settr(481,4,12,16,16,"assert((((0!=0)&&(0!=1))||((outcome-(2+0))>=before)))", 1, 2, 0); /* m: 10 -> 0,12 */
	reached4[10] = 1;
	trans[4][12]	= settr(485,0,0,17,17,"-end-", 0, 3500, 0);

	/* proctype 3: caller */

	trans[3] = (Trans **) emalloc(291*sizeof(Trans *));

	T = trans[ 3][17] = settr(200,2,0,0,0,"ATOMIC", 1, 2, 0);
	T->nxt	= settr(200,2,15,0,0,"ATOMIC", 1, 2, 0);
	T = trans[3][15] = settr(198,2,0,0,0,"IF", 1, 2, 0);
	T = T->nxt	= settr(198,2,1,0,0,"IF", 1, 2, 0);
	T = T->nxt	= settr(198,2,12,0,0,"IF", 1, 2, 0);
	    T->nxt	= settr(198,2,14,0,0,"IF", 1, 2, 0);
	trans[3][1]	= settr(184,2,10,18,18,"((entry!=0))", 1, 2, 0); /* m: 2 -> 10,0 */
	reached3[2] = 1;
	trans[3][2]	= settr(0,0,0,0,0,"assert((((0!=0)&&(0!=1))||(version>=invalidated)))",0,0,0);
	trans[3][3]	= settr(0,0,0,0,0,"saw = entry",0,0,0);
	T = trans[3][10] = settr(193,2,0,0,0,"IF", 1, 2, 0);
	T = T->nxt	= settr(193,2,4,0,0,"IF", 1, 2, 0);
	T = T->nxt	= settr(193,2,6,0,0,"IF", 1, 2, 0);
	    T->nxt	= settr(193,2,8,0,0,"IF", 1, 2, 0);
	trans[3][4]	= settr(187,4,288,19,19,"(fresh)", 1, 2, 0); /* m: 5 -> 288,0 */
	reached3[5] = 1;
	trans[3][5]	= settr(188,0,288,1,0,"goto over", 1, 2, 0);
	trans[3][11]	= settr(194,4,28,20,20,".(goto)", 1, 2, 0); /* m: 16 -> 0,28 */
	reached3[16] = 1;
	trans[3][6]	= settr(189,4,28,21,21,"(!(fresh))", 1, 2, 0); /* m: 7 -> 28,0 */
	reached3[7] = 1;
	trans[3][7]	= settr(0,0,0,0,0,"servable = 1",0,0,0);
	trans[3][8]	= settr(191,2,9,22,0,"(!(fresh))", 1, 2, 0);
	trans[3][9]	= settr(192,2,11,23,23,"{c_code11}", 1, 2, 0);
	trans[3][16]	= settr(199,0,28,24,24,".(goto)", 1, 2, 0);
	trans[3][12]	= settr(195,4,28,25,25,"((entry==0))", 1, 2, 0); /* m: 13 -> 28,0 */
	reached3[13] = 1;
	trans[3][13]	= settr(0,0,0,0,0,"saw = 0",0,0,0);
	trans[3][14]	= settr(197,4,28,26,26,"saw = 63", 1, 2, 0); /* m: 16 -> 0,28 */
	reached3[16] = 1;
	T = trans[ 3][28] = settr(211,0,0,0,0,"sub-sequence", 0, 2, 0);
	T->nxt	= settr(211,0,27,0,0,"sub-sequence", 0, 2, 0);
	T = trans[ 3][27] = settr(210,2,0,0,0,"ATOMIC", 1, 2, 0);
	T->nxt	= settr(210,2,25,0,0,"ATOMIC", 1, 3, 0);
	T = trans[3][25] = settr(208,2,0,0,0,"IF", 1, 3, 0);
	T = T->nxt	= settr(208,2,18,0,0,"IF", 1, 3, 0);
	    T->nxt	= settr(208,2,19,0,0,"IF", 1, 3, 0);
	trans[3][18]	= settr(201,4,128,27,27,"(1)", 1, 3, 0); /* m: 26 -> 128,0 */
	reached3[26] = 1;
	trans[3][26]	= settr(209,0,128,28,28,".(goto)", 1, 3, 0);
	trans[3][19]	= settr(202,2,24,29,0,"(nfull(wire[0]))", 1, 3, 0);
	T = trans[ 3][24] = settr(207,0,0,0,0,"sub-sequence", 1, 3, 0);
	T->nxt	= settr(207,0,22,0,0,"sub-sequence", 1, 3, 0);
	T = trans[3][22] = settr(205,2,0,0,0,"IF", 1, 3, 0);
	    T->nxt	= settr(205,2,20,0,0,"IF", 1, 3, 0);
	trans[3][20]	= settr(203,2,21,30,0,"(nfull(wire[0]))", 1, 3, 0);
	trans[3][21]	= settr(204,4,128,31,31,"wire[0]!6,((2*me)+0),saw,servable,0", 1, 3, 0); /* m: 23 -> 128,0 */
	reached3[23] = 1;
	trans[3][23]	= settr(206,2,26,1,0,".(goto)", 1, 3, 0); /* m: 26 -> 0,128 */
	reached3[26] = 1;
	T = trans[ 3][128] = settr(311,2,0,0,0,"ATOMIC", 1, 2, 0);
	T->nxt	= settr(311,2,109,0,0,"ATOMIC", 1, 3, 0);
	T = trans[3][109] = settr(292,2,0,0,0,"IF", 1, 3, 0);
	T = T->nxt	= settr(292,2,64,0,0,"IF", 1, 3, 0);
	T = T->nxt	= settr(292,2,100,0,0,"IF", 1, 3, 0);
	    T->nxt	= settr(292,2,102,0,0,"IF", 1, 3, 0);
	T = trans[ 3][64] = settr(247,0,0,0,0,"sub-sequence", 1, 3, 0);
	T->nxt	= settr(247,0,62,0,0,"sub-sequence", 1, 3, 0);
	T = trans[3][62] = settr(245,2,0,0,0,"IF", 1, 3, 0);
	T = T->nxt	= settr(245,2,29,0,0,"IF", 1, 3, 0);
	T = T->nxt	= settr(245,2,37,0,0,"IF", 1, 3, 0);
	    T->nxt	= settr(245,2,40,0,0,"IF", 1, 3, 0);
	trans[3][29]	= settr(212,2,30,32,0,"((((lock!=0)&&!((lock>=64)))&&((lock/2)==(((2*me)+1)/2))))", 1, 3, 0);
	trans[3][30]	= settr(213,2,34,33,33,"{c_code12}", 1, 3, 0);
	T = trans[3][34] = settr(217,2,0,0,0,"IF", 1, 3, 0);
	T = T->nxt	= settr(217,2,31,0,0,"IF", 1, 3, 0);
	    T->nxt	= settr(217,2,33,0,0,"IF", 1, 3, 0);
	trans[3][31]	= settr(214,2,126,34,34,"((((2*me)+1)>lock))", 1, 3, 0); /* m: 32 -> 126,0 */
	reached3[32] = 1;
	trans[3][32]	= settr(0,0,0,0,0,"lock = ((2*me)+1)",0,0,0);
	trans[3][35]	= settr(218,2,36,1,0,".(goto)", 1, 3, 0); /* m: 36 -> 0,126 */
	reached3[36] = 1;
	trans[3][33]	= settr(216,2,36,2,0,"else", 1, 3, 0);
	trans[3][36]	= settr(219,2,126,35,35,"answer = acquired", 1, 3, 0);
	trans[3][63]	= settr(246,2,126,1,0,".(goto)", 1, 3, 0);
	trans[3][37]	= settr(220,2,38,36,0,"((!((((lock!=0)&&!((lock>=64)))&&((lock/2)==(((2*me)+1)/2))))&&(((saw!=63)&&(entry!=0))&&(entry!=saw))))", 1, 3, 0);
	trans[3][38]	= settr(221,2,39,37,37,"{c_code13}", 1, 3, 0);
	trans[3][39]	= settr(222,2,126,38,38,"answer = changed", 1, 3, 0);
	trans[3][40]	= settr(223,2,60,2,0,"else", 1, 3, 0);
	T = trans[3][60] = settr(243,2,0,0,0,"IF", 1, 3, 0);
	T = T->nxt	= settr(243,2,41,0,0,"IF", 1, 3, 0);
	T = T->nxt	= settr(243,2,49,0,0,"IF", 1, 3, 0);
	    T->nxt	= settr(243,2,58,0,0,"IF", 1, 3, 0);
	trans[3][41]	= settr(224,2,47,39,0,"((lock==0))", 1, 3, 0);
	T = trans[ 3][47] = settr(230,0,0,0,0,"sub-sequence", 1, 3, 0);
	T->nxt	= settr(230,0,42,0,0,"sub-sequence", 1, 3, 0);
	trans[3][42]	= settr(225,2,126,40,40,"assert((((0!=0)&&(0!=3))||(holder==0)))", 1, 3, 0); /* m: 43 -> 0,126 */
	reached3[43] = 1;
	trans[3][43]	= settr(0,0,0,0,0,"assert((((0!=0)&&(0!=4))||((saw==63)||!((entry&&fresh)))))",0,0,0);
	trans[3][44]	= settr(0,0,0,0,0,"lock = ((2*me)+1)",0,0,0);
	trans[3][45]	= settr(0,0,0,0,0,"holder = (((2*me)+1)/2)",0,0,0);
	trans[3][46]	= settr(0,0,0,0,0,"resting = 0",0,0,0);
	trans[3][48]	= settr(0,0,0,0,0,"answer = acquired",0,0,0);
	trans[3][61]	= settr(244,2,126,1,0,".(goto)", 1, 3, 0);
	trans[3][49]	= settr(232,2,50,41,0,"(((lock>=64)&&(((saw==63)||(entry==0))||!(servable))))", 1, 3, 0);
	trans[3][50]	= settr(233,2,56,42,42,"{c_code14}", 1, 3, 0);
	T = trans[ 3][56] = settr(239,0,0,0,0,"sub-sequence", 1, 3, 0);
	T->nxt	= settr(239,0,51,0,0,"sub-sequence", 1, 3, 0);
	trans[3][51]	= settr(234,2,126,43,43,"assert((((0!=0)&&(0!=3))||(holder==0)))", 1, 3, 0); /* m: 52 -> 0,126 */
	reached3[52] = 1;
	trans[3][52]	= settr(0,0,0,0,0,"assert((((0!=0)&&(0!=4))||((saw==63)||!((entry&&fresh)))))",0,0,0);
	trans[3][53]	= settr(0,0,0,0,0,"lock = ((2*me)+1)",0,0,0);
	trans[3][54]	= settr(0,0,0,0,0,"holder = (((2*me)+1)/2)",0,0,0);
	trans[3][55]	= settr(0,0,0,0,0,"resting = 0",0,0,0);
	trans[3][57]	= settr(0,0,0,0,0,"answer = acquired",0,0,0);
	trans[3][58]	= settr(241,2,59,2,0,"else", 1, 3, 0);
	trans[3][59]	= settr(242,2,126,44,44,"answer = held", 1, 3, 0);
	trans[3][110]	= settr(293,2,126,1,0,".(goto)", 1, 3, 0);
	T = trans[ 3][100] = settr(283,0,0,0,0,"sub-sequence", 1, 3, 0);
	T->nxt	= settr(283,0,98,0,0,"sub-sequence", 1, 3, 0);
	T = trans[3][98] = settr(281,2,0,0,0,"IF", 1, 3, 0);
	T = T->nxt	= settr(281,2,65,0,0,"IF", 1, 3, 0);
	T = T->nxt	= settr(281,2,73,0,0,"IF", 1, 3, 0);
	    T->nxt	= settr(281,2,76,0,0,"IF", 1, 3, 0);
	trans[3][65]	= settr(248,2,66,45,0,"((((lock!=0)&&!((lock>=64)))&&((lock/2)==(((2*me)+1)/2))))", 1, 3, 0);
	trans[3][66]	= settr(249,2,70,46,46,"{c_code15}", 1, 3, 0);
	T = trans[3][70] = settr(253,2,0,0,0,"IF", 1, 3, 0);
	T = T->nxt	= settr(253,2,67,0,0,"IF", 1, 3, 0);
	    T->nxt	= settr(253,2,69,0,0,"IF", 1, 3, 0);
	trans[3][67]	= settr(250,2,126,47,47,"((((2*me)+1)>lock))", 1, 3, 0); /* m: 68 -> 126,0 */
	reached3[68] = 1;
	trans[3][68]	= settr(0,0,0,0,0,"lock = ((2*me)+1)",0,0,0);
	trans[3][71]	= settr(254,2,72,1,0,".(goto)", 1, 3, 0); /* m: 72 -> 0,126 */
	reached3[72] = 1;
	trans[3][69]	= settr(252,2,72,2,0,"else", 1, 3, 0);
	trans[3][72]	= settr(255,2,126,48,48,"answer = acquired", 1, 3, 0); /* m: 101 -> 0,126 */
	reached3[101] = 1;
	trans[3][99]	= settr(282,2,101,1,0,".(goto)", 1, 3, 0); /* m: 101 -> 0,126 */
	reached3[101] = 1;
	trans[3][73]	= settr(256,2,74,49,0,"((!((((lock!=0)&&!((lock>=64)))&&((lock/2)==(((2*me)+1)/2))))&&(((saw!=63)&&(entry!=0))&&(entry!=saw))))", 1, 3, 0);
	trans[3][74]	= settr(257,2,75,50,50,"{c_code16}", 1, 3, 0);
	trans[3][75]	= settr(258,2,126,51,51,"answer = changed", 1, 3, 0); /* m: 101 -> 0,126 */
	reached3[101] = 1;
	trans[3][76]	= settr(259,2,96,2,0,"else", 1, 3, 0);
	T = trans[3][96] = settr(279,2,0,0,0,"IF", 1, 3, 0);
	T = T->nxt	= settr(279,2,77,0,0,"IF", 1, 3, 0);
	T = T->nxt	= settr(279,2,85,0,0,"IF", 1, 3, 0);
	    T->nxt	= settr(279,2,94,0,0,"IF", 1, 3, 0);
	trans[3][77]	= settr(260,2,83,52,0,"((lock==0))", 1, 3, 0);
	T = trans[ 3][83] = settr(266,0,0,0,0,"sub-sequence", 1, 3, 0);
	T->nxt	= settr(266,0,78,0,0,"sub-sequence", 1, 3, 0);
	trans[3][78]	= settr(261,2,126,53,53,"assert((((0!=0)&&(0!=3))||(holder==0)))", 1, 3, 0); /* m: 79 -> 0,126 */
	reached3[79] = 1;
	trans[3][79]	= settr(0,0,0,0,0,"assert((((0!=0)&&(0!=4))||((saw==63)||!((entry&&fresh)))))",0,0,0);
	trans[3][80]	= settr(0,0,0,0,0,"lock = ((2*me)+1)",0,0,0);
	trans[3][81]	= settr(0,0,0,0,0,"holder = (((2*me)+1)/2)",0,0,0);
	trans[3][82]	= settr(0,0,0,0,0,"resting = 0",0,0,0);
	trans[3][84]	= settr(0,0,0,0,0,"answer = acquired",0,0,0);
	trans[3][97]	= settr(280,2,101,1,0,".(goto)", 1, 3, 0); /* m: 101 -> 0,126 */
	reached3[101] = 1;
	trans[3][85]	= settr(268,2,86,54,0,"(((lock>=64)&&(((saw==63)||(entry==0))||!(servable))))", 1, 3, 0);
	trans[3][86]	= settr(269,2,92,55,55,"{c_code17}", 1, 3, 0);
	T = trans[ 3][92] = settr(275,0,0,0,0,"sub-sequence", 1, 3, 0);
	T->nxt	= settr(275,0,87,0,0,"sub-sequence", 1, 3, 0);
	trans[3][87]	= settr(270,2,126,56,56,"assert((((0!=0)&&(0!=3))||(holder==0)))", 1, 3, 0); /* m: 88 -> 0,126 */
	reached3[88] = 1;
	trans[3][88]	= settr(0,0,0,0,0,"assert((((0!=0)&&(0!=4))||((saw==63)||!((entry&&fresh)))))",0,0,0);
	trans[3][89]	= settr(0,0,0,0,0,"lock = ((2*me)+1)",0,0,0);
	trans[3][90]	= settr(0,0,0,0,0,"holder = (((2*me)+1)/2)",0,0,0);
	trans[3][91]	= settr(0,0,0,0,0,"resting = 0",0,0,0);
	trans[3][93]	= settr(0,0,0,0,0,"answer = acquired",0,0,0);
	trans[3][94]	= settr(277,2,95,2,0,"else", 1, 3, 0);
	trans[3][95]	= settr(278,2,126,57,57,"answer = held", 1, 3, 0); /* m: 101 -> 0,126 */
	reached3[101] = 1;
	trans[3][101]	= settr(284,2,126,58,58,"answer = 0", 1, 3, 0);
	trans[3][102]	= settr(285,2,107,59,0,"(nfull(wire[0]))", 1, 3, 0);
	T = trans[ 3][107] = settr(290,0,0,0,0,"sub-sequence", 1, 3, 0);
	T->nxt	= settr(290,0,105,0,0,"sub-sequence", 1, 3, 0);
	T = trans[3][105] = settr(288,2,0,0,0,"IF", 1, 3, 0);
	    T->nxt	= settr(288,2,103,0,0,"IF", 1, 3, 0);
	trans[3][103]	= settr(286,2,104,60,0,"(nfull(wire[0]))", 1, 3, 0);
	trans[3][104]	= settr(287,2,126,61,61,"wire[0]!6,((2*me)+1),saw,servable,0", 1, 3, 0); /* m: 108 -> 126,0 */
	reached3[108] = 1;
	trans[3][106]	= settr(289,2,108,1,0,".(goto)", 1, 3, 0); /* m: 108 -> 0,126 */
	reached3[108] = 1;
	trans[3][108]	= settr(291,2,126,62,62,"answer = 0", 1, 3, 0);
	T = trans[3][126] = settr(309,2,0,0,0,"IF", 1, 3, 0);
	T = T->nxt	= settr(309,2,111,0,0,"IF", 1, 3, 0);
	T = T->nxt	= settr(309,2,114,0,0,"IF", 1, 3, 0);
	T = T->nxt	= settr(309,2,122,0,0,"IF", 1, 3, 0);
	    T->nxt	= settr(309,2,125,0,0,"IF", 1, 3, 0);
	trans[3][111]	= settr(294,4,288,63,63,"((answer==changed))", 1, 3, 0); /* m: 112 -> 288,0 */
	reached3[112] = 1;
	trans[3][112]	= settr(0,0,0,0,0,"assert((((0!=0)&&(0!=1))||(version>=invalidated)))",0,0,0);
	trans[3][113]	= settr(296,0,288,1,0,"goto over", 1, 3, 0);
	trans[3][127]	= settr(310,0,132,64,64,".(goto)", 1, 3, 0);
	trans[3][114]	= settr(297,2,119,65,0,"((answer==held))", 1, 3, 0);
	T = trans[3][119] = settr(302,2,0,0,0,"IF", 1, 3, 0);
	T = T->nxt	= settr(302,2,115,0,0,"IF", 1, 3, 0);
	    T->nxt	= settr(302,2,117,0,0,"IF", 1, 3, 0);
	trans[3][115]	= settr(298,2,116,66,0,"((servable&&(entry!=0)))", 1, 3, 0);
	trans[3][116]	= settr(299,2,120,67,67,"{c_code18}", 1, 3, 0);
	trans[3][120]	= settr(303,2,121,1,0,".(goto)", 1, 3, 0); /* m: 121 -> 0,288 */
	reached3[121] = 1;
	trans[3][117]	= settr(300,2,118,2,0,"else", 1, 3, 0);
	trans[3][118]	= settr(301,2,120,68,68,"{c_code19}", 1, 3, 0);
	trans[3][121]	= settr(304,0,288,69,69,"goto over", 1, 3, 0);
	trans[3][122]	= settr(305,4,132,70,70,"((answer==acquired))", 1, 3, 0); /* m: 123 -> 132,0 */
	reached3[123] = 1;
	trans[3][123]	= settr(0,0,0,0,0,"servable = (servable&&(entry!=0))",0,0,0);
	trans[3][124]	= settr(0,0,0,0,0,"joinable = (joinable||(me==1))",0,0,0);
	trans[3][125]	= settr(308,4,132,71,71,"((answer==0))", 1, 3, 0); /* m: 127 -> 132,0 */
	reached3[127] = 1;
	T = trans[3][132] = settr(315,0,0,0,0,"IF", 0, 2, 0);
	T = T->nxt	= settr(315,0,129,0,0,"IF", 0, 2, 0);
	    T->nxt	= settr(315,0,131,0,0,"IF", 0, 2, 0);
	trans[3][129]	= settr(312,0,260,72,0,"((answer==0))", 0, 2, 0);
	trans[3][130]	= settr(313,0,260,1,0,"goto give_back", 0, 2, 0);
	trans[3][133]	= settr(316,0,134,1,0,".(goto)", 0, 2, 0);
	trans[3][131]	= settr(314,0,134,73,0,"((answer==acquired))", 0, 2, 0);
	trans[3][134]	= settr(317,0,168,74,74,"result = source", 1, 2, 0);
	trans[3][169]	= settr(352,0,168,1,0,".(goto)", 0, 2, 0);
	T = trans[3][168] = settr(351,0,0,0,0,"DO", 0, 2, 0);
	T = T->nxt	= settr(351,0,145,0,0,"DO", 0, 2, 0);
	T = T->nxt	= settr(351,0,166,0,0,"DO", 0, 2, 0);
	    T->nxt	= settr(351,0,167,0,0,"DO", 0, 2, 0);
	T = trans[ 3][145] = settr(328,0,0,0,0,"sub-sequence", 0, 2, 0);
	T->nxt	= settr(328,0,144,0,0,"sub-sequence", 0, 2, 0);
	T = trans[ 3][144] = settr(327,2,0,0,0,"ATOMIC", 1, 2, 0);
	T->nxt	= settr(327,2,142,0,0,"ATOMIC", 1, 3, 0);
	T = trans[3][142] = settr(325,2,0,0,0,"IF", 1, 3, 0);
	T = T->nxt	= settr(325,2,135,0,0,"IF", 1, 3, 0);
	    T->nxt	= settr(325,2,136,0,0,"IF", 1, 3, 0);
	trans[3][135]	= settr(318,4,165,75,75,"(1)", 1, 3, 0); /* m: 143 -> 165,0 */
	reached3[143] = 1;
	trans[3][143]	= settr(326,0,165,76,76,".(goto)", 1, 3, 0);
	trans[3][136]	= settr(319,2,141,77,0,"(nfull(wire[0]))", 1, 3, 0);
	T = trans[ 3][141] = settr(324,0,0,0,0,"sub-sequence", 1, 3, 0);
	T->nxt	= settr(324,0,139,0,0,"sub-sequence", 1, 3, 0);
	T = trans[3][139] = settr(322,2,0,0,0,"IF", 1, 3, 0);
	    T->nxt	= settr(322,2,137,0,0,"IF", 1, 3, 0);
	trans[3][137]	= settr(320,2,138,78,0,"(nfull(wire[0]))", 1, 3, 0);
	trans[3][138]	= settr(321,4,165,79,79,"wire[0]!5,((2*me)+1),0,0,0", 1, 3, 0); /* m: 140 -> 165,0 */
	reached3[140] = 1;
	trans[3][140]	= settr(323,2,143,1,0,".(goto)", 1, 3, 0); /* m: 143 -> 0,165 */
	reached3[143] = 1;
	T = trans[ 3][165] = settr(348,2,0,0,0,"ATOMIC", 1, 2, 0);
	T->nxt	= settr(348,2,158,0,0,"ATOMIC", 1, 2, 0);
	T = trans[ 3][158] = settr(341,0,0,0,0,"sub-sequence", 1, 2, 0);
	T->nxt	= settr(341,0,156,0,0,"sub-sequence", 1, 2, 0);
	T = trans[3][156] = settr(339,2,0,0,0,"IF", 1, 2, 0);
	T = T->nxt	= settr(339,2,146,0,0,"IF", 1, 2, 0);
	    T->nxt	= settr(339,2,149,0,0,"IF", 1, 2, 0);
	trans[3][146]	= settr(329,2,163,80,80,"((lock==((2*me)+1)))", 1, 2, 0); /* m: 147 -> 163,0 */
	reached3[147] = 1;
	trans[3][147]	= settr(0,0,0,0,0,"assert((((0!=0)&&(0!=5))||!(resting)))",0,0,0);
	trans[3][148]	= settr(0,0,0,0,0,"answer = held",0,0,0);
	trans[3][157]	= settr(340,2,163,1,0,".(goto)", 1, 2, 0);
	trans[3][149]	= settr(332,2,153,2,0,"else", 1, 2, 0);
	T = trans[3][153] = settr(336,2,0,0,0,"IF", 1, 2, 0);
	T = T->nxt	= settr(336,2,150,0,0,"IF", 1, 2, 0);
	    T->nxt	= settr(336,2,152,0,0,"IF", 1, 2, 0);
	trans[3][150]	= settr(333,2,151,81,0,"(resting)", 1, 2, 0);
	trans[3][151]	= settr(334,2,155,82,82,"{c_code20}", 1, 2, 0);
	trans[3][154]	= settr(337,2,155,1,0,".(goto)", 1, 2, 0); /* m: 155 -> 0,163 */
	reached3[155] = 1;
	trans[3][152]	= settr(335,2,155,2,0,"else", 1, 2, 0);
	trans[3][155]	= settr(338,2,163,83,83,"answer = lost", 1, 2, 0);
	T = trans[3][163] = settr(346,2,0,0,0,"IF", 1, 2, 0);
	T = T->nxt	= settr(346,2,159,0,0,"IF", 1, 2, 0);
	    T->nxt	= settr(346,2,162,0,0,"IF", 1, 2, 0);
	trans[3][159]	= settr(342,2,160,84,0,"((answer==lost))", 1, 2, 0);
	trans[3][160]	= settr(343,2,161,85,85,"{c_code21}", 1, 2, 0);
	trans[3][161]	= settr(344,0,287,1,0,"goto finish", 1, 2, 0);
	trans[3][164]	= settr(347,0,168,1,0,".(goto)", 1, 2, 0);
	trans[3][162]	= settr(345,2,164,2,0,"else", 1, 2, 0);
	trans[3][166]	= settr(349,0,289,1,0,"goto dead", 0, 2, 0);
	trans[3][167]	= settr(350,0,172,1,0,"goto :b3", 0, 2, 0);
	trans[3][170]	= settr(353,0,172,1,0,"break", 0, 2, 0);
	T = trans[ 3][172] = settr(355,2,0,0,0,"ATOMIC", 1, 2, 0);
	T->nxt	= settr(355,2,171,0,0,"ATOMIC", 1, 2, 0);
	trans[3][171]	= settr(354,0,247,86,86,"joinable = (joinable&&(me!=1))", 1, 2, 0);
	T = trans[3][247] = settr(430,0,0,0,0,"IF", 0, 2, 0);
	T = T->nxt	= settr(430,0,183,0,0,"IF", 0, 2, 0);
	T = T->nxt	= settr(430,0,216,0,0,"IF", 0, 2, 0);
	T = T->nxt	= settr(430,0,218,0,0,"IF", 0, 2, 0);
	    T->nxt	= settr(430,0,246,0,0,"IF", 0, 2, 0);
	T = trans[ 3][183] = settr(366,0,0,0,0,"sub-sequence", 0, 2, 0);
	T->nxt	= settr(366,0,182,0,0,"sub-sequence", 0, 2, 0);
	T = trans[ 3][182] = settr(365,2,0,0,0,"ATOMIC", 1, 2, 0);
	T->nxt	= settr(365,2,180,0,0,"ATOMIC", 1, 3, 0);
	T = trans[3][180] = settr(363,2,0,0,0,"IF", 1, 3, 0);
	T = T->nxt	= settr(363,2,173,0,0,"IF", 1, 3, 0);
	    T->nxt	= settr(363,2,174,0,0,"IF", 1, 3, 0);
	trans[3][173]	= settr(356,4,208,87,87,"(1)", 1, 3, 0); /* m: 181 -> 208,0 */
	reached3[181] = 1;
	trans[3][181]	= settr(364,0,208,88,88,".(goto)", 1, 3, 0);
	trans[3][174]	= settr(357,2,179,89,0,"(nfull(wire[0]))", 1, 3, 0);
	T = trans[ 3][179] = settr(362,0,0,0,0,"sub-sequence", 1, 3, 0);
	T->nxt	= settr(362,0,177,0,0,"sub-sequence", 1, 3, 0);
	T = trans[3][177] = settr(360,2,0,0,0,"IF", 1, 3, 0);
	    T->nxt	= settr(360,2,175,0,0,"IF", 1, 3, 0);
	trans[3][175]	= settr(358,2,176,90,0,"(nfull(wire[0]))", 1, 3, 0);
	trans[3][176]	= settr(359,4,208,91,91,"wire[0]!4,((2*me)+1),0,0,result", 1, 3, 0); /* m: 178 -> 208,0 */
	reached3[178] = 1;
	trans[3][178]	= settr(361,2,181,1,0,".(goto)", 1, 3, 0); /* m: 181 -> 0,208 */
	reached3[181] = 1;
	T = trans[ 3][208] = settr(391,2,0,0,0,"ATOMIC", 1, 2, 0);
	T->nxt	= settr(391,2,207,0,0,"ATOMIC", 1, 2, 0);
	T = trans[ 3][207] = settr(390,0,0,0,0,"sub-sequence", 1, 2, 0);
	T->nxt	= settr(390,0,205,0,0,"sub-sequence", 1, 2, 0);
	T = trans[3][205] = settr(388,2,0,0,0,"IF", 1, 2, 0);
	T = T->nxt	= settr(388,2,184,0,0,"IF", 1, 2, 0);
	T = T->nxt	= settr(388,2,187,0,0,"IF", 1, 2, 0);
	    T->nxt	= settr(388,2,197,0,0,"IF", 1, 2, 0);
	trans[3][184]	= settr(367,2,185,92,0,"((entry==(((2*me)+1)/2)))", 1, 2, 0);
	trans[3][185]	= settr(368,2,186,93,93,"{c_code22}", 1, 2, 0);
	trans[3][186]	= settr(369,0,287,94,94,"answer = held", 1, 2, 0); /* m: 206 -> 0,287 */
	reached3[206] = 1;
	trans[3][206]	= settr(389,0,287,95,95,".(goto)", 1, 2, 0);
	trans[3][187]	= settr(370,2,195,96,96,"(((entry!=(((2*me)+1)/2))&&(lock==((2*me)+1))))", 1, 2, 0); /* m: 188 -> 195,0 */
	reached3[188] = 1;
	trans[3][188]	= settr(0,0,0,0,0,"assert((((0!=0)&&(0!=2))||(holder==(((2*me)+1)/2))))",0,0,0);
	trans[3][189]	= settr(0,0,0,0,0,"entry = (((2*me)+1)/2)",0,0,0);
	trans[3][190]	= settr(0,0,0,0,0,"version = result",0,0,0);
	trans[3][191]	= settr(0,0,0,0,0,"fresh = 1",0,0,0);
	T = trans[ 3][195] = settr(378,0,0,0,0,"sub-sequence", 1, 2, 0);
	T->nxt	= settr(378,0,192,0,0,"sub-sequence", 1, 2, 0);
	trans[3][192]	= settr(375,0,287,97,97,"lock = 0", 1, 2, 0); /* m: 193 -> 0,287 */
	reached3[193] = 1;
	trans[3][193]	= settr(0,0,0,0,0,"holder = 0",0,0,0);
	trans[3][194]	= settr(0,0,0,0,0,"resting = 0",0,0,0);
	trans[3][196]	= settr(0,0,0,0,0,"answer = held",0,0,0);
	trans[3][197]	= settr(380,2,202,2,0,"else", 1, 2, 0);
	T = trans[3][202] = settr(385,2,0,0,0,"IF", 1, 2, 0);
	T = T->nxt	= settr(385,2,198,0,0,"IF", 1, 2, 0);
	    T->nxt	= settr(385,2,200,0,0,"IF", 1, 2, 0);
	trans[3][198]	= settr(381,2,199,98,0,"((lock==0))", 1, 2, 0);
	trans[3][199]	= settr(382,2,204,99,99,"{c_code23}", 1, 2, 0);
	trans[3][203]	= settr(386,2,204,1,0,".(goto)", 1, 2, 0); /* m: 204 -> 0,287 */
	reached3[204] = 1;
	trans[3][200]	= settr(383,2,201,100,0,"((lock!=0))", 1, 2, 0);
	trans[3][201]	= settr(384,2,204,101,101,"{c_code24}", 1, 2, 0);
	trans[3][204]	= settr(387,0,287,102,102,"answer = lost", 1, 2, 0); /* m: 206 -> 0,287 */
	reached3[206] = 1;
	trans[3][248]	= settr(431,0,287,1,0,".(goto)", 0, 2, 0);
	T = trans[ 3][216] = settr(399,2,0,0,0,"ATOMIC", 1, 2, 0);
	T->nxt	= settr(399,2,209,0,0,"ATOMIC", 1, 3, 0);
	trans[3][209]	= settr(392,2,214,103,0,"(nfull(wire[0]))", 1, 3, 0);
	T = trans[ 3][214] = settr(397,0,0,0,0,"sub-sequence", 1, 3, 0);
	T->nxt	= settr(397,0,212,0,0,"sub-sequence", 1, 3, 0);
	T = trans[3][212] = settr(395,2,0,0,0,"IF", 1, 3, 0);
	    T->nxt	= settr(395,2,210,0,0,"IF", 1, 3, 0);
	trans[3][210]	= settr(393,2,211,104,0,"(nfull(wire[0]))", 1, 3, 0);
	trans[3][211]	= settr(394,0,260,105,105,"wire[0]!4,((2*me)+1),0,0,result", 1, 3, 0); /* m: 213 -> 260,0 */
	reached3[213] = 1;
	trans[3][213]	= settr(396,2,215,1,0,".(goto)", 1, 3, 0); /* m: 215 -> 0,260 */
	reached3[215] = 1;
	trans[3][215]	= settr(0,0,0,0,0,"answer = lost",0,0,0);
	trans[3][217]	= settr(400,0,260,1,0,"goto give_back", 0, 2, 0);
	trans[3][218]	= settr(401,0,229,106,0,"(servable)", 0, 2, 0);
	T = trans[ 3][229] = settr(412,0,0,0,0,"sub-sequence", 0, 2, 0);
	T->nxt	= settr(412,0,228,0,0,"sub-sequence", 0, 2, 0);
	T = trans[ 3][228] = settr(411,2,0,0,0,"ATOMIC", 1, 2, 0);
	T->nxt	= settr(411,2,226,0,0,"ATOMIC", 1, 3, 0);
	T = trans[3][226] = settr(409,2,0,0,0,"IF", 1, 3, 0);
	T = T->nxt	= settr(409,2,219,0,0,"IF", 1, 3, 0);
	    T->nxt	= settr(409,2,220,0,0,"IF", 1, 3, 0);
	trans[3][219]	= settr(402,4,244,107,107,"(1)", 1, 3, 0); /* m: 227 -> 244,0 */
	reached3[227] = 1;
	trans[3][227]	= settr(410,0,244,108,108,".(goto)", 1, 3, 0);
	trans[3][220]	= settr(403,2,225,109,0,"(nfull(wire[0]))", 1, 3, 0);
	T = trans[ 3][225] = settr(408,0,0,0,0,"sub-sequence", 1, 3, 0);
	T->nxt	= settr(408,0,223,0,0,"sub-sequence", 1, 3, 0);
	T = trans[3][223] = settr(406,2,0,0,0,"IF", 1, 3, 0);
	    T->nxt	= settr(406,2,221,0,0,"IF", 1, 3, 0);
	trans[3][221]	= settr(404,2,222,110,0,"(nfull(wire[0]))", 1, 3, 0);
	trans[3][222]	= settr(405,4,244,111,111,"wire[0]!3,((2*me)+1),0,0,0", 1, 3, 0); /* m: 224 -> 244,0 */
	reached3[224] = 1;
	trans[3][224]	= settr(407,2,227,1,0,".(goto)", 1, 3, 0); /* m: 227 -> 0,244 */
	reached3[227] = 1;
	T = trans[ 3][244] = settr(427,2,0,0,0,"ATOMIC", 1, 2, 0);
	T->nxt	= settr(427,2,243,0,0,"ATOMIC", 1, 2, 0);
	T = trans[ 3][243] = settr(426,0,0,0,0,"sub-sequence", 1, 2, 0);
	T->nxt	= settr(426,0,241,0,0,"sub-sequence", 1, 2, 0);
	T = trans[3][241] = settr(424,2,0,0,0,"IF", 1, 2, 0);
	T = T->nxt	= settr(424,2,230,0,0,"IF", 1, 2, 0);
	T = T->nxt	= settr(424,2,233,0,0,"IF", 1, 2, 0);
	    T->nxt	= settr(424,2,238,0,0,"IF", 1, 2, 0);
	trans[3][230]	= settr(413,2,231,112,0,"((lock==(64+((2*me)+1))))", 1, 2, 0);
	trans[3][231]	= settr(414,2,232,113,113,"{c_code25}", 1, 2, 0);
	trans[3][232]	= settr(415,0,287,114,114,"answer = held", 1, 2, 0); /* m: 242 -> 0,287 */
	reached3[242] = 1;
	trans[3][242]	= settr(425,0,287,115,115,".(goto)", 1, 2, 0); /* m: 245 -> 0,287 */
	reached3[245] = 1;
	trans[3][233]	= settr(416,0,287,116,116,"(((lock!=(64+((2*me)+1)))&&(lock==((2*me)+1))))", 1, 2, 0); /* m: 234 -> 287,0 */
	reached3[234] = 1;
	trans[3][234]	= settr(0,0,0,0,0,"lock = (64+((2*me)+1))",0,0,0);
	trans[3][235]	= settr(0,0,0,0,0,"holder = 0",0,0,0);
	trans[3][236]	= settr(0,0,0,0,0,"resting = 1",0,0,0);
	trans[3][237]	= settr(0,0,0,0,0,"answer = held",0,0,0);
	trans[3][238]	= settr(421,2,239,2,0,"else", 1, 2, 0);
	trans[3][239]	= settr(422,2,240,117,117,"{c_code26}", 1, 2, 0);
	trans[3][240]	= settr(423,0,287,118,118,"answer = lost", 1, 2, 0); /* m: 242 -> 0,287 */
	reached3[242] = 1;
	trans[3][245]	= settr(0,0,0,0,0,"answer = lost",0,0,0);
	trans[3][246]	= settr(429,0,260,1,0,"goto give_back", 0, 2, 0);
	trans[3][249]	= settr(432,0,287,1,0,"goto finish", 0, 2, 0);
	T = trans[ 3][260] = settr(443,0,0,0,0,"sub-sequence", 0, 2, 0);
	T->nxt	= settr(443,0,259,0,0,"sub-sequence", 0, 2, 0);
	T = trans[ 3][259] = settr(442,2,0,0,0,"ATOMIC", 1, 2, 0);
	T->nxt	= settr(442,2,257,0,0,"ATOMIC", 1, 3, 0);
	T = trans[3][257] = settr(440,2,0,0,0,"IF", 1, 3, 0);
	T = T->nxt	= settr(440,2,250,0,0,"IF", 1, 3, 0);
	    T->nxt	= settr(440,2,251,0,0,"IF", 1, 3, 0);
	trans[3][250]	= settr(433,4,276,119,119,"(1)", 1, 3, 0); /* m: 258 -> 276,0 */
	reached3[258] = 1;
	trans[3][258]	= settr(441,0,276,120,120,".(goto)", 1, 3, 0);
	trans[3][251]	= settr(434,2,256,121,0,"(nfull(wire[0]))", 1, 3, 0);
	T = trans[ 3][256] = settr(439,0,0,0,0,"sub-sequence", 1, 3, 0);
	T->nxt	= settr(439,0,254,0,0,"sub-sequence", 1, 3, 0);
	T = trans[3][254] = settr(437,2,0,0,0,"IF", 1, 3, 0);
	    T->nxt	= settr(437,2,252,0,0,"IF", 1, 3, 0);
	trans[3][252]	= settr(435,2,253,122,0,"(nfull(wire[0]))", 1, 3, 0);
	trans[3][253]	= settr(436,4,276,123,123,"wire[0]!2,((2*me)+1),0,0,0", 1, 3, 0); /* m: 255 -> 276,0 */
	reached3[255] = 1;
	trans[3][255]	= settr(438,2,258,1,0,".(goto)", 1, 3, 0); /* m: 258 -> 0,276 */
	reached3[258] = 1;
	T = trans[ 3][276] = settr(459,2,0,0,0,"ATOMIC", 1, 2, 0);
	T->nxt	= settr(459,2,275,0,0,"ATOMIC", 1, 2, 0);
	T = trans[ 3][275] = settr(458,0,0,0,0,"sub-sequence", 1, 2, 0);
	T->nxt	= settr(458,0,273,0,0,"sub-sequence", 1, 2, 0);
	T = trans[3][273] = settr(456,2,0,0,0,"IF", 1, 2, 0);
	T = T->nxt	= settr(456,2,261,0,0,"IF", 1, 2, 0);
	    T->nxt	= settr(456,2,270,0,0,"IF", 1, 2, 0);
	trans[3][261]	= settr(444,2,267,124,124,"((((lock!=0)&&!((lock>=64)))&&((lock/2)==(((2*me)+1)/2))))", 1, 2, 0); /* m: 262 -> 267,0 */
	reached3[262] = 1;
	trans[3][262]	= settr(0,0,0,0,0,"lock = 0",0,0,0);
	trans[3][263]	= settr(0,0,0,0,0,"resting = 0",0,0,0);
	T = trans[3][267] = settr(450,2,0,0,0,"IF", 1, 2, 0);
	T = T->nxt	= settr(450,2,264,0,0,"IF", 1, 2, 0);
	    T->nxt	= settr(450,2,266,0,0,"IF", 1, 2, 0);
	trans[3][264]	= settr(447,0,287,125,125,"((holder==(((2*me)+1)/2)))", 1, 2, 0); /* m: 265 -> 287,0 */
	reached3[265] = 1;
	trans[3][265]	= settr(0,0,0,0,0,"holder = 0",0,0,0);
	trans[3][268]	= settr(451,2,269,1,0,".(goto)", 1, 2, 0); /* m: 269 -> 0,287 */
	reached3[269] = 1;
	trans[3][266]	= settr(449,2,269,2,0,"else", 1, 2, 0);
	trans[3][269]	= settr(452,0,287,126,126,"answer = held", 1, 2, 0); /* m: 274 -> 0,287 */
	reached3[274] = 1;
	trans[3][274]	= settr(457,0,287,127,127,".(goto)", 1, 2, 0); /* m: 277 -> 0,287 */
	reached3[277] = 1;
	trans[3][270]	= settr(453,2,271,2,0,"else", 1, 2, 0);
	trans[3][271]	= settr(454,2,272,128,128,"{c_code27}", 1, 2, 0);
	trans[3][272]	= settr(455,0,287,129,129,"answer = lost", 1, 2, 0); /* m: 274 -> 0,287 */
	reached3[274] = 1;
	trans[3][277]	= settr(0,0,0,0,0,"answer = lost",0,0,0);
	T = trans[ 3][287] = settr(470,2,0,0,0,"ATOMIC", 1, 2, 0);
	T->nxt	= settr(470,2,285,0,0,"ATOMIC", 1, 2, 0);
	T = trans[3][285] = settr(468,2,0,0,0,"IF", 1, 2, 0);
	T = T->nxt	= settr(468,2,278,0,0,"IF", 1, 2, 0);
	T = T->nxt	= settr(468,2,281,0,0,"IF", 1, 2, 0);
	    T->nxt	= settr(468,2,284,0,0,"IF", 1, 2, 0);
	trans[3][278]	= settr(461,4,288,130,130,"(((me==1)&&(answer==held)))", 1, 2, 0); /* m: 279 -> 288,0 */
	reached3[279] = 1;
	trans[3][279]	= settr(0,0,0,0,0,"outcome = (2+result)",0,0,0);
	trans[3][280]	= settr(0,0,0,0,0,"joinable = 0",0,0,0);
	trans[3][286]	= settr(469,0,288,131,131,".(goto)", 1, 2, 0);
	trans[3][281]	= settr(464,4,288,132,132,"(((me==1)&&(answer!=held)))", 1, 2, 0); /* m: 282 -> 288,0 */
	reached3[282] = 1;
	trans[3][282]	= settr(0,0,0,0,0,"outcome = 1",0,0,0);
	trans[3][283]	= settr(0,0,0,0,0,"joinable = 0",0,0,0);
	trans[3][284]	= settr(467,2,286,2,0,"else", 1, 2, 0);
	trans[3][288]	= settr(471,0,289,1,0,"(1)", 0, 2, 0);
	trans[3][289]	= settr(472,0,290,133,133,"ended = (ended+1)", 1, 2, 0);
	trans[3][290]	= settr(473,0,0,134,134,"-end-", 0, 3500, 0);

	/* proctype 2: writer */

	trans[2] = (Trans **) emalloc(30*sizeof(Trans *));

	trans[2][27]	= settr(181,0,26,1,0,".(goto)", 0, 2, 0);
	T = trans[2][26] = settr(180,0,0,0,0,"DO", 0, 2, 0);
	T = T->nxt	= settr(180,0,1,0,0,"DO", 0, 2, 0);
	    T->nxt	= settr(180,0,24,0,0,"DO", 0, 2, 0);
	trans[2][1]	= settr(155,0,2,135,0,"((source<1))", 1, 2, 0);
	trans[2][2]	= settr(156,0,13,136,136,"source = (source+1)", 1, 2, 0);
	T = trans[ 2][13] = settr(167,0,0,0,0,"sub-sequence", 0, 2, 0);
	T->nxt	= settr(167,0,12,0,0,"sub-sequence", 0, 2, 0);
	T = trans[ 2][12] = settr(166,2,0,0,0,"ATOMIC", 1, 2, 0);
	T->nxt	= settr(166,2,10,0,0,"ATOMIC", 1, 3, 0);
	T = trans[2][10] = settr(164,2,0,0,0,"IF", 1, 3, 0);
	T = T->nxt	= settr(164,2,3,0,0,"IF", 1, 3, 0);
	    T->nxt	= settr(164,2,4,0,0,"IF", 1, 3, 0);
	trans[2][3]	= settr(157,4,23,137,137,"(1)", 1, 3, 0); /* m: 11 -> 23,0 */
	reached2[11] = 1;
	trans[2][11]	= settr(165,0,23,138,138,".(goto)", 1, 3, 0);
	trans[2][4]	= settr(158,2,9,139,0,"(nfull(wire[0]))", 1, 3, 0);
	T = trans[ 2][9] = settr(163,0,0,0,0,"sub-sequence", 1, 3, 0);
	T->nxt	= settr(163,0,7,0,0,"sub-sequence", 1, 3, 0);
	T = trans[2][7] = settr(161,2,0,0,0,"IF", 1, 3, 0);
	    T->nxt	= settr(161,2,5,0,0,"IF", 1, 3, 0);
	trans[2][5]	= settr(159,2,6,140,0,"(nfull(wire[0]))", 1, 3, 0);
	trans[2][6]	= settr(160,4,23,141,141,"wire[0]!1,0,0,0,0", 1, 3, 0); /* m: 8 -> 23,0 */
	reached2[8] = 1;
	trans[2][8]	= settr(162,2,11,1,0,".(goto)", 1, 3, 0); /* m: 11 -> 0,23 */
	reached2[11] = 1;
	T = trans[ 2][23] = settr(177,2,0,0,0,"ATOMIC", 1, 2, 0);
	T->nxt	= settr(177,2,21,0,0,"ATOMIC", 1, 2, 0);
	T = trans[ 2][21] = settr(175,0,0,0,0,"sub-sequence", 1, 2, 0);
	T->nxt	= settr(175,0,14,0,0,"sub-sequence", 1, 2, 0);
	trans[2][14]	= settr(168,2,20,142,142,"entry = 0", 1, 2, 0); /* m: 15 -> 0,20 */
	reached2[15] = 1;
	trans[2][15]	= settr(0,0,0,0,0,"version = 0",0,0,0);
	trans[2][16]	= settr(0,0,0,0,0,"fresh = 0",0,0,0);
	T = trans[ 2][20] = settr(174,0,0,0,0,"sub-sequence", 1, 2, 0);
	T->nxt	= settr(174,0,17,0,0,"sub-sequence", 1, 2, 0);
	trans[2][17]	= settr(171,0,26,143,143,"lock = 0", 1, 2, 0); /* m: 18 -> 0,26 */
	reached2[18] = 1;
	trans[2][18]	= settr(0,0,0,0,0,"holder = 0",0,0,0);
	trans[2][19]	= settr(0,0,0,0,0,"resting = 0",0,0,0);
	trans[2][22]	= settr(0,0,0,0,0,"invalidated = source",0,0,0);
	trans[2][24]	= settr(178,0,29,2,0,"else", 0, 2, 0);
	trans[2][25]	= settr(179,0,29,1,0,"goto :b2", 0, 2, 0);
	trans[2][28]	= settr(182,0,29,1,0,"break", 0, 2, 0);
	trans[2][29]	= settr(183,0,0,144,144,"-end-", 0, 3500, 0);

	/* proctype 1: time */

	trans[1] = (Trans **) emalloc(24*sizeof(Trans *));

	trans[1][21]	= settr(152,0,20,1,0,".(goto)", 0, 2, 0);
	T = trans[1][20] = settr(151,0,0,0,0,"DO", 0, 2, 0);
	T = T->nxt	= settr(151,0,11,0,0,"DO", 0, 2, 0);
	T = T->nxt	= settr(151,0,14,0,0,"DO", 0, 2, 0);
	    T->nxt	= settr(151,0,19,0,0,"DO", 0, 2, 0);
	T = trans[ 1][11] = settr(142,2,0,0,0,"ATOMIC", 1, 2, 0);
	T->nxt	= settr(142,2,1,0,0,"ATOMIC", 1, 2, 0);
	trans[1][1]	= settr(132,2,5,145,0,"((lock!=0))", 1, 2, 0);
	T = trans[1][5] = settr(136,2,0,0,0,"IF", 1, 2, 0);
	T = T->nxt	= settr(136,2,2,0,0,"IF", 1, 2, 0);
	    T->nxt	= settr(136,2,4,0,0,"IF", 1, 2, 0);
	trans[1][2]	= settr(133,2,10,146,146,"(((lock/2)==1))", 1, 2, 0); /* m: 3 -> 10,0 */
	reached1[3] = 1;
	trans[1][3]	= settr(0,0,0,0,0,"joinable = 0",0,0,0);
	trans[1][6]	= settr(137,2,10,1,0,".(goto)", 1, 2, 0);
	trans[1][4]	= settr(135,2,10,2,0,"else", 1, 2, 0);
	T = trans[ 1][10] = settr(141,0,0,0,0,"sub-sequence", 1, 2, 0);
	T->nxt	= settr(141,0,7,0,0,"sub-sequence", 1, 2, 0);
	trans[1][7]	= settr(138,0,20,147,147,"lock = 0", 1, 2, 0); /* m: 8 -> 0,20 */
	reached1[8] = 1;
	trans[1][8]	= settr(0,0,0,0,0,"holder = 0",0,0,0);
	trans[1][9]	= settr(0,0,0,0,0,"resting = 0",0,0,0);
	T = trans[ 1][14] = settr(145,2,0,0,0,"ATOMIC", 1, 2, 0);
	T->nxt	= settr(145,2,12,0,0,"ATOMIC", 1, 2, 0);
	trans[1][12]	= settr(143,0,20,148,148,"(((entry!=0)&&fresh))", 1, 2, 0); /* m: 13 -> 20,0 */
	reached1[13] = 1;
	trans[1][13]	= settr(0,0,0,0,0,"fresh = 0",0,0,0);
	T = trans[ 1][19] = settr(150,2,0,0,0,"ATOMIC", 1, 2, 0);
	T->nxt	= settr(150,2,15,0,0,"ATOMIC", 1, 2, 0);
	trans[1][15]	= settr(146,0,20,149,149,"((entry!=0))", 1, 2, 0); /* m: 16 -> 20,0 */
	reached1[16] = 1;
	trans[1][16]	= settr(0,0,0,0,0,"entry = 0",0,0,0);
	trans[1][17]	= settr(0,0,0,0,0,"version = 0",0,0,0);
	trans[1][18]	= settr(0,0,0,0,0,"fresh = 0",0,0,0);
	trans[1][22]	= settr(153,0,23,1,0,"break", 0, 2, 0);
	trans[1][23]	= settr(154,0,0,150,150,"-end-", 0, 3500, 0);

	/* proctype 0: wires */

	trans[0] = (Trans **) emalloc(133*sizeof(Trans *));

	trans[0][130]	= settr(129,0,129,1,0,".(goto)", 0, 2, 0);
	T = trans[0][129] = settr(128,0,0,0,0,"DO", 0, 2, 0);
	    T->nxt	= settr(128,0,128,0,0,"DO", 0, 2, 0);
	T = trans[ 0][128] = settr(127,2,0,0,0,"ATOMIC", 1, 2, 0);
	T->nxt	= settr(127,2,1,0,0,"ATOMIC", 1, 503, 0);
	trans[0][1]	= settr(0,2,127,151,0,"(nempty(wire[0]))", 1, 503, 0);
	T = trans[ 0][127] = settr(126,0,0,0,0,"sub-sequence", 1, 503, 0);
	T->nxt	= settr(126,0,2,0,0,"sub-sequence", 1, 503, 0);
	trans[0][2]	= settr(1,2,119,152,152,"wire[0]?verb,t,saw,servable,result", 1, 503, 0);
	T = trans[0][119] = settr(118,2,0,0,0,"IF", 1, 503, 0);
	T = T->nxt	= settr(118,2,3,0,0,"IF", 1, 503, 0);
	T = T->nxt	= settr(118,2,40,0,0,"IF", 1, 503, 0);
	T = T->nxt	= settr(118,2,54,0,0,"IF", 1, 503, 0);
	T = T->nxt	= settr(118,2,79,0,0,"IF", 1, 503, 0);
	T = T->nxt	= settr(118,2,94,0,0,"IF", 1, 503, 0);
	    T->nxt	= settr(118,2,110,0,0,"IF", 1, 503, 0);
	trans[0][3]	= settr(2,2,39,153,0,"((verb==acquire))", 1, 503, 0);
	T = trans[ 0][39] = settr(38,0,0,0,0,"sub-sequence", 1, 503, 0);
	T->nxt	= settr(38,0,37,0,0,"sub-sequence", 1, 503, 0);
	T = trans[0][37] = settr(36,2,0,0,0,"IF", 1, 503, 0);
	T = T->nxt	= settr(36,2,4,0,0,"IF", 1, 503, 0);
	T = T->nxt	= settr(36,2,12,0,0,"IF", 1, 503, 0);
	    T->nxt	= settr(36,2,15,0,0,"IF", 1, 503, 0);
	trans[0][4]	= settr(3,2,5,154,0,"((((lock!=0)&&!((lock>=64)))&&((lock/2)==(t/2))))", 1, 503, 0);
	trans[0][5]	= settr(4,2,9,155,155,"{c_code1}", 1, 503, 0);
	T = trans[0][9] = settr(8,2,0,0,0,"IF", 1, 503, 0);
	T = T->nxt	= settr(8,2,6,0,0,"IF", 1, 503, 0);
	    T->nxt	= settr(8,2,8,0,0,"IF", 1, 503, 0);
	trans[0][6]	= settr(5,0,129,156,156,"((t>lock))", 1, 503, 0); /* m: 7 -> 129,0 */
	reached0[7] = 1;
	trans[0][7]	= settr(0,0,0,0,0,"lock = t",0,0,0);
	trans[0][10]	= settr(9,2,11,1,0,".(goto)", 1, 503, 0); /* m: 11 -> 0,129 */
	reached0[11] = 1;
	trans[0][8]	= settr(7,2,11,2,0,"else", 1, 503, 0);
	trans[0][11]	= settr(10,0,129,157,157,"answer = acquired", 1, 503, 0); /* m: 121 -> 0,129 */
	reached0[121] = 1;
	trans[0][38]	= settr(37,2,121,1,0,".(goto)", 1, 503, 0); /* m: 121 -> 0,129 */
	reached0[121] = 1;
	trans[0][12]	= settr(11,2,13,158,0,"((!((((lock!=0)&&!((lock>=64)))&&((lock/2)==(t/2))))&&(((saw!=63)&&(entry!=0))&&(entry!=saw))))", 1, 503, 0);
	trans[0][13]	= settr(12,2,14,159,159,"{c_code2}", 1, 503, 0);
	trans[0][14]	= settr(13,0,129,160,160,"answer = changed", 1, 503, 0); /* m: 121 -> 0,129 */
	reached0[121] = 1;
	trans[0][15]	= settr(14,2,35,2,0,"else", 1, 503, 0);
	T = trans[0][35] = settr(34,2,0,0,0,"IF", 1, 503, 0);
	T = T->nxt	= settr(34,2,16,0,0,"IF", 1, 503, 0);
	T = T->nxt	= settr(34,2,24,0,0,"IF", 1, 503, 0);
	    T->nxt	= settr(34,2,33,0,0,"IF", 1, 503, 0);
	trans[0][16]	= settr(15,2,22,161,0,"((lock==0))", 1, 503, 0);
	T = trans[ 0][22] = settr(21,0,0,0,0,"sub-sequence", 1, 503, 0);
	T->nxt	= settr(21,0,17,0,0,"sub-sequence", 1, 503, 0);
	trans[0][17]	= settr(16,0,129,162,162,"assert((((0!=0)&&(0!=3))||(holder==0)))", 1, 503, 0); /* m: 18 -> 0,129 */
	reached0[18] = 1;
	trans[0][18]	= settr(0,0,0,0,0,"assert((((0!=0)&&(0!=4))||((saw==63)||!((entry&&fresh)))))",0,0,0);
	trans[0][19]	= settr(0,0,0,0,0,"lock = t",0,0,0);
	trans[0][20]	= settr(0,0,0,0,0,"holder = (t/2)",0,0,0);
	trans[0][21]	= settr(0,0,0,0,0,"resting = 0",0,0,0);
	trans[0][23]	= settr(0,0,0,0,0,"answer = acquired",0,0,0);
	trans[0][36]	= settr(35,2,121,1,0,".(goto)", 1, 503, 0); /* m: 121 -> 0,129 */
	reached0[121] = 1;
	trans[0][24]	= settr(23,2,25,163,0,"(((lock>=64)&&(((saw==63)||(entry==0))||!(servable))))", 1, 503, 0);
	trans[0][25]	= settr(24,2,31,164,164,"{c_code3}", 1, 503, 0);
	T = trans[ 0][31] = settr(30,0,0,0,0,"sub-sequence", 1, 503, 0);
	T->nxt	= settr(30,0,26,0,0,"sub-sequence", 1, 503, 0);
	trans[0][26]	= settr(25,0,129,165,165,"assert((((0!=0)&&(0!=3))||(holder==0)))", 1, 503, 0); /* m: 27 -> 0,129 */
	reached0[27] = 1;
	trans[0][27]	= settr(0,0,0,0,0,"assert((((0!=0)&&(0!=4))||((saw==63)||!((entry&&fresh)))))",0,0,0);
	trans[0][28]	= settr(0,0,0,0,0,"lock = t",0,0,0);
	trans[0][29]	= settr(0,0,0,0,0,"holder = (t/2)",0,0,0);
	trans[0][30]	= settr(0,0,0,0,0,"resting = 0",0,0,0);
	trans[0][32]	= settr(0,0,0,0,0,"answer = acquired",0,0,0);
	trans[0][33]	= settr(32,2,34,2,0,"else", 1, 503, 0);
	trans[0][34]	= settr(33,0,129,166,166,"answer = held", 1, 503, 0); /* m: 121 -> 0,129 */
	reached0[121] = 1;
	trans[0][120]	= settr(119,2,121,1,0,".(goto)", 1, 503, 0); /* m: 121 -> 0,129 */
	reached0[121] = 1;
	trans[0][40]	= settr(39,2,53,167,0,"((verb==renew))", 1, 503, 0);
	T = trans[ 0][53] = settr(52,0,0,0,0,"sub-sequence", 1, 503, 0);
	T->nxt	= settr(52,0,51,0,0,"sub-sequence", 1, 503, 0);
	T = trans[0][51] = settr(50,2,0,0,0,"IF", 1, 503, 0);
	T = T->nxt	= settr(50,2,41,0,0,"IF", 1, 503, 0);
	    T->nxt	= settr(50,2,44,0,0,"IF", 1, 503, 0);
	trans[0][41]	= settr(40,0,129,168,168,"((lock==t))", 1, 503, 0); /* m: 42 -> 129,0 */
	reached0[42] = 1;
	trans[0][42]	= settr(0,0,0,0,0,"assert((((0!=0)&&(0!=5))||!(resting)))",0,0,0);
	trans[0][43]	= settr(0,0,0,0,0,"answer = held",0,0,0);
	trans[0][52]	= settr(51,2,121,1,0,".(goto)", 1, 503, 0); /* m: 121 -> 0,129 */
	reached0[121] = 1;
	trans[0][44]	= settr(43,2,48,2,0,"else", 1, 503, 0);
	T = trans[0][48] = settr(47,2,0,0,0,"IF", 1, 503, 0);
	T = T->nxt	= settr(47,2,45,0,0,"IF", 1, 503, 0);
	    T->nxt	= settr(47,2,47,0,0,"IF", 1, 503, 0);
	trans[0][45]	= settr(44,2,46,169,0,"(resting)", 1, 503, 0);
	trans[0][46]	= settr(45,2,50,170,170,"{c_code4}", 1, 503, 0);
	trans[0][49]	= settr(48,2,50,1,0,".(goto)", 1, 503, 0); /* m: 50 -> 0,129 */
	reached0[50] = 1;
	trans[0][47]	= settr(46,2,50,2,0,"else", 1, 503, 0);
	trans[0][50]	= settr(49,0,129,171,171,"answer = lost", 1, 503, 0); /* m: 121 -> 0,129 */
	reached0[121] = 1;
	trans[0][54]	= settr(53,2,78,172,0,"((verb==store))", 1, 503, 0);
	T = trans[ 0][78] = settr(77,0,0,0,0,"sub-sequence", 1, 503, 0);
	T->nxt	= settr(77,0,76,0,0,"sub-sequence", 1, 503, 0);
	T = trans[0][76] = settr(75,2,0,0,0,"IF", 1, 503, 0);
	T = T->nxt	= settr(75,2,55,0,0,"IF", 1, 503, 0);
	T = T->nxt	= settr(75,2,58,0,0,"IF", 1, 503, 0);
	    T->nxt	= settr(75,2,68,0,0,"IF", 1, 503, 0);
	trans[0][55]	= settr(54,2,56,173,0,"((entry==(t/2)))", 1, 503, 0);
	trans[0][56]	= settr(55,2,57,174,174,"{c_code5}", 1, 503, 0);
	trans[0][57]	= settr(56,0,129,175,175,"answer = held", 1, 503, 0); /* m: 121 -> 0,129 */
	reached0[121] = 1;
	trans[0][77]	= settr(76,2,121,1,0,".(goto)", 1, 503, 0); /* m: 121 -> 0,129 */
	reached0[121] = 1;
	trans[0][58]	= settr(57,2,66,176,176,"(((entry!=(t/2))&&(lock==t)))", 1, 503, 0); /* m: 59 -> 66,0 */
	reached0[59] = 1;
	trans[0][59]	= settr(0,0,0,0,0,"assert((((0!=0)&&(0!=2))||(holder==(t/2))))",0,0,0);
	trans[0][60]	= settr(0,0,0,0,0,"entry = (t/2)",0,0,0);
	trans[0][61]	= settr(0,0,0,0,0,"version = result",0,0,0);
	trans[0][62]	= settr(0,0,0,0,0,"fresh = 1",0,0,0);
	T = trans[ 0][66] = settr(65,0,0,0,0,"sub-sequence", 1, 503, 0);
	T->nxt	= settr(65,0,63,0,0,"sub-sequence", 1, 503, 0);
	trans[0][63]	= settr(62,0,129,177,177,"lock = 0", 1, 503, 0); /* m: 64 -> 0,129 */
	reached0[64] = 1;
	trans[0][64]	= settr(0,0,0,0,0,"holder = 0",0,0,0);
	trans[0][65]	= settr(0,0,0,0,0,"resting = 0",0,0,0);
	trans[0][67]	= settr(0,0,0,0,0,"answer = held",0,0,0);
	trans[0][68]	= settr(67,2,73,2,0,"else", 1, 503, 0);
	T = trans[0][73] = settr(72,2,0,0,0,"IF", 1, 503, 0);
	T = T->nxt	= settr(72,2,69,0,0,"IF", 1, 503, 0);
	    T->nxt	= settr(72,2,71,0,0,"IF", 1, 503, 0);
	trans[0][69]	= settr(68,2,70,178,0,"((lock==0))", 1, 503, 0);
	trans[0][70]	= settr(69,2,75,179,179,"{c_code6}", 1, 503, 0);
	trans[0][74]	= settr(73,2,75,1,0,".(goto)", 1, 503, 0); /* m: 75 -> 0,129 */
	reached0[75] = 1;
	trans[0][71]	= settr(70,2,72,180,0,"((lock!=0))", 1, 503, 0);
	trans[0][72]	= settr(71,2,75,181,181,"{c_code7}", 1, 503, 0);
	trans[0][75]	= settr(74,0,129,182,182,"answer = lost", 1, 503, 0); /* m: 121 -> 0,129 */
	reached0[121] = 1;
	trans[0][79]	= settr(78,2,93,183,0,"((verb==cooldown))", 1, 503, 0);
	T = trans[ 0][93] = settr(92,0,0,0,0,"sub-sequence", 1, 503, 0);
	T->nxt	= settr(92,0,91,0,0,"sub-sequence", 1, 503, 0);
	T = trans[0][91] = settr(90,2,0,0,0,"IF", 1, 503, 0);
	T = T->nxt	= settr(90,2,80,0,0,"IF", 1, 503, 0);
	T = T->nxt	= settr(90,2,83,0,0,"IF", 1, 503, 0);
	    T->nxt	= settr(90,2,88,0,0,"IF", 1, 503, 0);
	trans[0][80]	= settr(79,2,81,184,0,"((lock==(64+t)))", 1, 503, 0);
	trans[0][81]	= settr(80,2,82,185,185,"{c_code8}", 1, 503, 0);
	trans[0][82]	= settr(81,0,129,186,186,"answer = held", 1, 503, 0); /* m: 121 -> 0,129 */
	reached0[121] = 1;
	trans[0][92]	= settr(91,2,121,1,0,".(goto)", 1, 503, 0); /* m: 121 -> 0,129 */
	reached0[121] = 1;
	trans[0][83]	= settr(82,0,129,187,187,"(((lock!=(64+t))&&(lock==t)))", 1, 503, 0); /* m: 84 -> 129,0 */
	reached0[84] = 1;
	trans[0][84]	= settr(0,0,0,0,0,"lock = (64+t)",0,0,0);
	trans[0][85]	= settr(0,0,0,0,0,"holder = 0",0,0,0);
	trans[0][86]	= settr(0,0,0,0,0,"resting = 1",0,0,0);
	trans[0][87]	= settr(0,0,0,0,0,"answer = held",0,0,0);
	trans[0][88]	= settr(87,2,89,2,0,"else", 1, 503, 0);
	trans[0][89]	= settr(88,2,90,188,188,"{c_code9}", 1, 503, 0);
	trans[0][90]	= settr(89,0,129,189,189,"answer = lost", 1, 503, 0); /* m: 121 -> 0,129 */
	reached0[121] = 1;
	trans[0][94]	= settr(93,2,109,190,0,"((verb==release))", 1, 503, 0);
	T = trans[ 0][109] = settr(108,0,0,0,0,"sub-sequence", 1, 503, 0);
	T->nxt	= settr(108,0,107,0,0,"sub-sequence", 1, 503, 0);
	T = trans[0][107] = settr(106,2,0,0,0,"IF", 1, 503, 0);
	T = T->nxt	= settr(106,2,95,0,0,"IF", 1, 503, 0);
	    T->nxt	= settr(106,2,104,0,0,"IF", 1, 503, 0);
	trans[0][95]	= settr(94,2,101,191,191,"((((lock!=0)&&!((lock>=64)))&&((lock/2)==(t/2))))", 1, 503, 0); /* m: 96 -> 101,0 */
	reached0[96] = 1;
	trans[0][96]	= settr(0,0,0,0,0,"lock = 0",0,0,0);
	trans[0][97]	= settr(0,0,0,0,0,"resting = 0",0,0,0);
	T = trans[0][101] = settr(100,2,0,0,0,"IF", 1, 503, 0);
	T = T->nxt	= settr(100,2,98,0,0,"IF", 1, 503, 0);
	    T->nxt	= settr(100,2,100,0,0,"IF", 1, 503, 0);
	trans[0][98]	= settr(97,0,129,192,192,"((holder==(t/2)))", 1, 503, 0); /* m: 99 -> 129,0 */
	reached0[99] = 1;
	trans[0][99]	= settr(0,0,0,0,0,"holder = 0",0,0,0);
	trans[0][102]	= settr(101,2,103,1,0,".(goto)", 1, 503, 0); /* m: 103 -> 0,129 */
	reached0[103] = 1;
	trans[0][100]	= settr(99,2,103,2,0,"else", 1, 503, 0);
	trans[0][103]	= settr(102,0,129,193,193,"answer = held", 1, 503, 0); /* m: 121 -> 0,129 */
	reached0[121] = 1;
	trans[0][108]	= settr(107,2,121,1,0,".(goto)", 1, 503, 0); /* m: 121 -> 0,129 */
	reached0[121] = 1;
	trans[0][104]	= settr(103,2,105,2,0,"else", 1, 503, 0);
	trans[0][105]	= settr(104,2,106,194,194,"{c_code10}", 1, 503, 0);
	trans[0][106]	= settr(105,0,129,195,195,"answer = lost", 1, 503, 0); /* m: 121 -> 0,129 */
	reached0[121] = 1;
	trans[0][110]	= settr(109,2,118,196,0,"((verb==invalidate))", 1, 503, 0);
	T = trans[ 0][118] = settr(117,0,0,0,0,"sub-sequence", 1, 503, 0);
	T->nxt	= settr(117,0,111,0,0,"sub-sequence", 1, 503, 0);
	trans[0][111]	= settr(110,2,117,197,197,"entry = 0", 1, 503, 0); /* m: 112 -> 0,117 */
	reached0[112] = 1;
	trans[0][112]	= settr(0,0,0,0,0,"version = 0",0,0,0);
	trans[0][113]	= settr(0,0,0,0,0,"fresh = 0",0,0,0);
	T = trans[ 0][117] = settr(116,0,0,0,0,"sub-sequence", 1, 503, 0);
	T->nxt	= settr(116,0,114,0,0,"sub-sequence", 1, 503, 0);
	trans[0][114]	= settr(113,0,129,198,198,"lock = 0", 1, 503, 0); /* m: 115 -> 0,129 */
	reached0[115] = 1;
	trans[0][115]	= settr(0,0,0,0,0,"holder = 0",0,0,0);
	trans[0][116]	= settr(0,0,0,0,0,"resting = 0",0,0,0);
	trans[0][121]	= settr(120,0,129,199,199,"verb = 0", 1, 503, 0); /* m: 122 -> 0,129 */
	reached0[122] = 1;
	trans[0][122]	= settr(0,0,0,0,0,"t = 0",0,0,0);
	trans[0][123]	= settr(0,0,0,0,0,"saw = 0",0,0,0);
	trans[0][124]	= settr(0,0,0,0,0,"servable = 0",0,0,0);
	trans[0][125]	= settr(0,0,0,0,0,"result = 0",0,0,0);
	trans[0][126]	= settr(0,0,0,0,0,"answer = 0",0,0,0);
	trans[0][131]	= settr(130,0,132,1,0,"break", 0, 2, 0);
	trans[0][132]	= settr(131,0,0,200,200,"-end-", 0, 3500, 0);
	/* np_ demon: */
	trans[_NP_] = (Trans **) emalloc(3*sizeof(Trans *));
	T = trans[_NP_][0] = settr(9997,0,1,_T5,0,"(np_)", 1,2,0);
	    T->nxt	  = settr(9998,0,0,_T2,0,"(1)",   0,2,0);
	T = trans[_NP_][1] = settr(9999,0,1,_T5,0,"(np_)", 1,2,0);
}

Trans *
settr(	int t_id, int a, int b, int c, int d,
	char *t, int g, int tpe0, int tpe1)
{	Trans *tmp = (Trans *) emalloc(sizeof(Trans));

	tmp->atom  = a&(6|32);	/* only (2|8|32) have meaning */
	if (!g) tmp->atom |= 8;	/* no global references */
	tmp->st    = b;
	tmp->tpe[0] = tpe0;
	tmp->tpe[1] = tpe1;
	tmp->tp    = t;
	tmp->t_id  = t_id;
	tmp->forw  = c;
	tmp->back  = d;
	return tmp;
}

Trans *
cpytr(Trans *a)
{	Trans *tmp = (Trans *) emalloc(sizeof(Trans));

	int i;
	tmp->atom  = a->atom;
	tmp->st    = a->st;
#ifdef HAS_UNLESS
	tmp->e_trans = a->e_trans;
	for (i = 0; i < HAS_UNLESS; i++)
		tmp->escp[i] = a->escp[i];
#endif
	tmp->tpe[0] = a->tpe[0];
	tmp->tpe[1] = a->tpe[1];
	for (i = 0; i < 6; i++)
	{	tmp->qu[i] = a->qu[i];
		tmp->ty[i] = a->ty[i];
	}
	tmp->tp    = (char *) emalloc(strlen(a->tp)+1);
	strcpy(tmp->tp, a->tp);
	tmp->t_id  = a->t_id;
	tmp->forw  = a->forw;
	tmp->back  = a->back;
	return tmp;
}

#ifndef NOREDUCE
int
srinc_set(int n)
{	if (n <= 2) return LOCAL;
	if (n <= 2+  DELTA) return Q_FULL_F; /* 's' or nfull  */
	if (n <= 2+2*DELTA) return Q_EMPT_F; /* 'r' or nempty */
	if (n <= 2+3*DELTA) return Q_EMPT_T; /* empty */
	if (n <= 2+4*DELTA) return Q_FULL_T; /* full  */
	if (n ==   5*DELTA) return GLOBAL;
	if (n ==   6*DELTA) return TIMEOUT_F;
	if (n ==   7*DELTA) return ALPHA_F;
	Uerror("cannot happen srinc_class");
	return BAD;
}
int
srunc(int n, int m)
{	switch(m) {
	case Q_FULL_F: return n-2;
	case Q_EMPT_F: return n-2-DELTA;
	case Q_EMPT_T: return n-2-2*DELTA;
	case Q_FULL_T: return n-2-3*DELTA;
	case ALPHA_F:
	case TIMEOUT_F: return 257; /* non-zero, and > MAXQ */
	}
	Uerror("cannot happen srunc");
	return 0;
}
#endif
int cnt;
#ifdef HAS_UNLESS
int
isthere(Trans *a, int b)
{	Trans *t;
	for (t = a; t; t = t->nxt)
		if (t->t_id == b)
			return 1;
	return 0;
}
#endif
#ifndef NOREDUCE
int
mark_safety(Trans *t) /* for conditional safety */
{	int g = 0, i, j, k;

	if (!t) return 0;
	if (t->qu[0])
		return (t->qu[1])?2:1;	/* marked */

	for (i = 0; i < 2; i++)
	{	j = srinc_set(t->tpe[i]);
		if (j >= GLOBAL && j != ALPHA_F)
			return -1;
		if (j != LOCAL)
		{	k = srunc(t->tpe[i], j);
			if (g == 0
			||  t->qu[0] != k
			||  t->ty[0] != j)
			{	t->qu[g] = k;
				t->ty[g] = j;
				g++;
	}	}	}
	return g;
}
#endif
void
retrans(int n, int m, int is, short srcln[], uchar reach[], uchar lpstate[])
	/* process n, with m states, is=initial state */
{	Trans *T0, *T1, *T2, *T3;
	Trans *T4, *T5; /* t_reverse or has_unless */
	int i;
#if defined(HAS_UNLESS) || !defined(NOREDUCE)
	int k;
#endif
#ifndef NOREDUCE
	int g, h, j, aa;
#endif
#ifdef HAS_UNLESS
	int p;
#endif
	if (state_tables >= 4)
	{	printf("STEP 1 %s\n", 
			procname[n]);
		for (i = 1; i < m; i++)
		for (T0 = trans[n][i]; T0; T0 = T0->nxt)
			crack(n, i, T0, srcln);
		return;
	}
	do {
		for (i = 1, cnt = 0; i < m; i++)
		{	T2 = trans[n][i];
			T1 = T2?T2->nxt:(Trans *)0;
/* prescan: */		for (T0 = T1; T0; T0 = T0->nxt)
/* choice in choice */	{	if (T0->st && trans[n][T0->st]
				&&  trans[n][T0->st]->nxt)
					break;
			}
#if 0
		if (T0)
		printf("\tstate %d / %d: choice in choice\n",
		i, T0->st);
#endif
			if (T0)
			for (T0 = T1; T0; T0 = T0->nxt)
			{	T3 = trans[n][T0->st];
				if (!T3->nxt)
				{	T2->nxt = cpytr(T0);
					T2 = T2->nxt;
					imed(T2, T0->st, n, i);
					continue;
				}
				do {	T3 = T3->nxt;
					T2->nxt = cpytr(T3);
					T2 = T2->nxt;
					imed(T2, T0->st, n, i);
				} while (T3->nxt);
				cnt++;
			}
		}
	} while (cnt);
	if (state_tables >= 3)
	{	printf("STEP 2 %s\n", 
			procname[n]);
		for (i = 1; i < m; i++)
		for (T0 = trans[n][i]; T0; T0 = T0->nxt)
			crack(n, i, T0, srcln);
		return;
	}
	for (i = 1; i < m; i++)
	{	if (trans[n][i] && trans[n][i]->nxt) /* optimize */
		{	T1 = trans[n][i]->nxt;
#if 0
			printf("\t\tpull %d (%d) to %d\n",
			T1->st, T1->forw, i);
#endif
			srcln[i] = srcln[T1->st];	/* Oyvind Teig, 5.2.0 */

			if (!trans[n][T1->st]) continue;
			T0 = cpytr(trans[n][T1->st]);
			trans[n][i] = T0;
			reach[T1->st] = 1;
			imed(T0, T1->st, n, i);
			for (T1 = T1->nxt; T1; T1 = T1->nxt)
			{
#if 0
			printf("\t\tpull %d (%d) to %d\n",
				T1->st, T1->forw, i);
#endif
		/*		srcln[i] = srcln[T1->st];  gh: not useful */
				if (!trans[n][T1->st]) continue;
				T0->nxt = cpytr(trans[n][T1->st]);
				T0 = T0->nxt;
				reach[T1->st] = 1;
				imed(T0, T1->st, n, i);
	}	}	}
	if (state_tables >= 2)
	{	printf("STEP 3 %s\n", 
			procname[n]);
		for (i = 1; i < m; i++)
		for (T0 = trans[n][i]; T0; T0 = T0->nxt)
			crack(n, i, T0, srcln);
		return;
	}
#ifdef HAS_UNLESS
	for (i = 1; i < m; i++)
	{	if (!trans[n][i]) continue;
		/* check for each state i if an
		 * escape to some state p is defined
		 * if so, copy and mark p's transitions
		 * and prepend them to the transition-
		 * list of state i
		 */
	 if (!like_java) /* the default */
	 {	for (T0 = trans[n][i]; T0; T0 = T0->nxt)
		for (k = HAS_UNLESS-1; k >= 0; k--)
		{	if (p = T0->escp[k])
			for (T1 = trans[n][p]; T1; T1 = T1->nxt)
			{	if (isthere(trans[n][i], T1->t_id))
					continue;
				T2 = cpytr(T1);
				T2->e_trans = p;
				T2->nxt = trans[n][i];
				trans[n][i] = T2;
		}	}
	 } else /* outermost unless checked first */
	 {	T4 = T3 = (Trans *) 0;
		for (T0 = trans[n][i]; T0; T0 = T0->nxt)
		for (k = HAS_UNLESS-1; k >= 0; k--)
		{	if (p = T0->escp[k])
			for (T1 = trans[n][p]; T1; T1 = T1->nxt)
			{	if (isthere(trans[n][i], T1->t_id))
					continue;
				T2 = cpytr(T1);
				T2->nxt = (Trans *) 0;
				T2->e_trans = p;
				if (T3)	T3->nxt = T2;
				else	T4 = T2;
				T3 = T2;
		}	}
		if (T4)
		{	T3->nxt = trans[n][i];
			trans[n][i] = T4;
		}
	 }
	}
#endif
#ifndef NOREDUCE
	for (i = 1; i < m; i++)
	{	if (a_cycles)
		{ /* moves through these states are visible */
	#if PROG_LAB>0 && defined(HAS_NP)
			if (progstate[n][i])
				goto degrade;
			for (T1 = trans[n][i]; T1; T1 = T1->nxt)
				if (progstate[n][T1->st])
					goto degrade;
	#endif
			if (accpstate[n][i] || visstate[n][i])
				goto degrade;
			for (T1 = trans[n][i]; T1; T1 = T1->nxt)
				if (accpstate[n][T1->st])
					goto degrade;
		}
		T1 = trans[n][i];
		if (!T1) continue;
		g = mark_safety(T1);	/* V3.3.1 */
		if (g < 0) goto degrade; /* global */
		/* check if mixing of guards preserves reduction */
		if (T1->nxt)
		{	k = 0;
			for (T0 = T1; T0; T0 = T0->nxt)
			{	if (!(T0->atom&8))
					goto degrade;
				for (aa = 0; aa < 2; aa++)
				{	j = srinc_set(T0->tpe[aa]);
					if (j >= GLOBAL && j != ALPHA_F)
						goto degrade;
					if (T0->tpe[aa]
					&&  T0->tpe[aa]
					!=  T1->tpe[0])
						k = 1;
			}	}
			/* g = 0;	V3.3.1 */
			if (k)	/* non-uniform selection */
			for (T0 = T1; T0; T0 = T0->nxt)
			for (aa = 0; aa < 2; aa++)
			{	j = srinc_set(T0->tpe[aa]);
				if (j != LOCAL)
				{	k = srunc(T0->tpe[aa], j);
					for (h = 0; h < 6; h++)
						if (T1->qu[h] == k
						&&  T1->ty[h] == j)
							break;
					if (h >= 6)
					{	T1->qu[g%6] = k;
						T1->ty[g%6] = j;
						g++;
			}	}	}
			if (g > 6)
			{	T1->qu[0] = 0;	/* turn it off */
				printf("pan: warning, line %d, ",
					srcln[i]);
			 	printf("too many stmnt types (%d)",
					g);
			  	printf(" in selection\n");
			  goto degrade;
			}
		}
		/* mark all options global if >=1 is global */
		for (T1 = trans[n][i]; T1; T1 = T1->nxt)
			if (!(T1->atom&8)) break;
		if (T1)
degrade:	for (T1 = trans[n][i]; T1; T1 = T1->nxt)
			T1->atom &= ~8;	/* mark as unsafe */
		/* can only mix 'r's or 's's if on same chan */
		/* and not mixed with other local operations */
		T1 = trans[n][i];
		if (!T1 || T1->qu[0]) continue;
		j = T1->tpe[0];
		if (T1->nxt && T1->atom&8)
		{ if (j == 5*DELTA)
		  {	printf("warning: line %d ", srcln[i]);
			printf("mixed condition ");
			printf("(defeats reduction)\n");
			goto degrade;
		  }
		  for (T0 = T1; T0; T0 = T0->nxt)
		  for (aa = 0; aa < 2; aa++)
		  if  (T0->tpe[aa] && T0->tpe[aa] != j)
		  {	printf("warning: line %d ", srcln[i]);
			printf("[%d-%d] mixed %stion ",
				T0->tpe[aa], j, 
				(j==5*DELTA)?"condi":"selec");
			printf("(defeats reduction)\n");
			printf("	'%s' <-> '%s'\n",
				T1->tp, T0->tp);
			goto degrade;
		} }
	}
#endif
	for (i = 1; i < m; i++)
	{	T2 = trans[n][i];
		if (!T2
		||  T2->nxt
		||  strncmp(T2->tp, ".(goto)", 7)
		||  !stopstate[n][i])
			continue;
		stopstate[n][T2->st] = 1;
	}
	if (state_tables && !verbose)
	{	if (dodot)
		{	char buf[256], *q = buf, *p = procname[n];
			while (*p != '\0')
			{	if (*p != ':')
				{	*q++ = *p;
				}
				p++;
			}
			*q = '\0';
			printf("digraph ");
			switch (Btypes[n]) {
			case I_PROC:  printf("init {\n"); break;
			case N_CLAIM: printf("claim_%s {\n", buf); break;
			case E_TRACE: printf("notrace {\n"); break;
			case N_TRACE: printf("trace {\n"); break;
			default:      printf("p_%s {\n", buf); break;
			}
			printf("size=\"8,10\";\n");
			printf("  GT [shape=box,style=dotted,label=\"%s\"];\n", buf);
			printf("  GT -> S%d;\n", is);
		} else
		{	switch (Btypes[n]) {
			case I_PROC:  printf("init\n"); break;
			case N_CLAIM: printf("claim %s\n", procname[n]); break;
			case E_TRACE: printf("notrace assertion\n"); break;
			case N_TRACE: printf("trace assertion\n"); break;
			default:      printf("proctype %s\n", procname[n]); break;
		}	}
		for (i = 1; i < m; i++)
		{	reach[i] = 1;
		}
		tagtable(n, m, is, srcln, reach);
		if (dodot) printf("}\n");
	} else
	for (i = 1; i < m; i++)
	{	int nrelse;
		if (Btypes[n] != N_CLAIM)
		{	for (T0 = trans[n][i]; T0; T0 = T0->nxt)
			{	if (T0->st == i
				&& strcmp(T0->tp, "(1)") == 0)
				{	printf("error: proctype '%s' ",
						procname[n]);
		  			printf("line %d, state %d: has un",
						srcln[i], i);
					printf("conditional self-loop\n");
					pan_exit(1);
		}	}	}
		nrelse = 0;
		for (T0 = trans[n][i]; T0; T0 = T0->nxt)
		{	if (strcmp(T0->tp, "else") == 0)
				nrelse++;
		}
		if (nrelse > 1)
		{	printf("error: proctype '%s' state",
				procname[n]);
		  	printf(" %d, inherits %d", i, nrelse);
		  	printf(" 'else' stmnts\n");
			pan_exit(1);
	}	}
#if !defined(LOOPSTATE) && !defined(BFS_PAR)
	if (state_tables)
#endif
	do_dfs(n, m, is, srcln, reach, lpstate);

	if (!t_reverse)
	{	return;
	}
	/* process n, with m states, is=initial state -- reverse list */
	if (!state_tables && Btypes[n] != N_CLAIM)
	{	for (i = 1; i < m; i++)
		{	Trans *Tx = (Trans *) 0; /* list of escapes */
			Trans *Ty = (Trans *) 0; /* its tail element */
			T1 = (Trans *) 0; /* reversed list */
			T2 = (Trans *) 0; /* its tail */
			T3 = (Trans *) 0; /* remembers possible 'else' */

			/* find unless-escapes, they should go first */
			T4 = T5 = T0 = trans[n][i];
	#ifdef HAS_UNLESS
			while (T4 && T4->e_trans) /* escapes are first in orig list */
			{	T5 = T4;	  /* remember predecessor */
				T4 = T4->nxt;
			}
	#endif
			/* T4 points to first non-escape, T5 to its parent, T0 to original list */
			if (T4 != T0)		 /* there was at least one escape */
			{	T3 = T5->nxt;		 /* start of non-escapes */
				T5->nxt = (Trans *) 0;	 /* separate */
				Tx = T0;		 /* start of the escapes */
				Ty = T5;		 /* its tail */
				T0 = T3;		 /* the rest, to be reversed */
			}
			/* T0 points to first non-escape, Tx to the list of escapes, Ty to its tail */

			/* first tail-add non-escape transitions, reversed */
			T3 = (Trans *) 0;
			for (T5 = T0; T5; T5 = T4)
			{	T4 = T5->nxt;
	#ifdef HAS_UNLESS
				if (T5->e_trans)
				{	printf("error: cannot happen!\n");
					continue;
				}
	#endif
				if (strcmp(T5->tp, "else") == 0)
				{	T3 = T5;
					T5->nxt = (Trans *) 0;
				} else
				{	T5->nxt = T1;
					if (!T1) { T2 = T5; }
					T1 = T5;
			}	}
			/* T3 points to a possible else, which is removed from the list */
			/* T1 points to the reversed list so far (without escapes) */
			/* T2 points to the tail element -- where the else should go */
			if (T2 && T3)
			{	T2->nxt = T3;	/* add else */
			} else
			{	if (T3) /* there was an else, but there's no tail */
				{	if (!T1)	/* and no reversed list */
					{	T1 = T3; /* odd, but possible */
					} else		/* even stranger */
					{	T1->nxt = T3;
			}	}	}

			/* add in the escapes, to that they appear at the front */
			if (Tx && Ty) { Ty->nxt = T1; T1 = Tx; }

			trans[n][i] = T1;
			/* reversed, with escapes first and else last */
	}	}
	if (state_tables && verbose)
	{	printf("FINAL proctype %s\n", 
			procname[n]);
		for (i = 1; i < m; i++)
		for (T0 = trans[n][i]; T0; T0 = T0->nxt)
			crack(n, i, T0, srcln);
	}
}
void
imed(Trans *T, int v, int n, int j)	/* set intermediate state */
{	progstate[n][T->st] |= progstate[n][v];
	accpstate[n][T->st] |= accpstate[n][v];
	stopstate[n][T->st] |= stopstate[n][v];
	mapstate[n][j] = T->st;
}
void
tagtable(int n, int m, int is, short srcln[], uchar reach[])
{	Trans *z;

	if (is >= m || !trans[n][is]
	||  is <= 0 || reach[is] == 0)
		return;
	reach[is] = 0;
	if (state_tables)
	for (z = trans[n][is]; z; z = z->nxt)
	{	if (dodot)
			dot_crack(n, is, z);
		else
			crack(n, is, z, srcln);
	}

	for (z = trans[n][is]; z; z = z->nxt)
	{
#ifdef HAS_UNLESS
		int i, j;
#endif
		tagtable(n, m, z->st, srcln, reach);
#ifdef HAS_UNLESS
		for (i = 0; i < HAS_UNLESS; i++)
		{	j = trans[n][is]->escp[i];
			if (!j) break;
			tagtable(n, m, j, srcln, reach);
		}
#endif
	}
}

extern Trans *t_id_lkup[];

void
dfs_table(int n, int m, int is, short srcln[], uchar reach[], uchar lpstate[])
{	Trans *z;

	if (is >= m || is <= 0 || !trans[n][is])
		return;
	if ((reach[is] & (4|8|16)) != 0)
	{	if ((reach[is] & (8|16)) == 16)	/* on stack, not yet recorded */
		{	lpstate[is] = 1;
			reach[is] |= 8; /* recorded */
			if (state_tables && verbose)
			{	printf("state %d line %d is a loopstate\n", is, srcln[is]);
		}	}
		return;
	}
	reach[is] |= (4|16);	/* visited | onstack */
	for (z = trans[n][is]; z; z = z->nxt)
	{	t_id_lkup[z->t_id] = z;
#ifdef HAS_UNLESS
		int i, j;
#endif
		dfs_table(n, m, z->st, srcln, reach, lpstate);
#ifdef HAS_UNLESS
		for (i = 0; i < HAS_UNLESS; i++)
		{	j = trans[n][is]->escp[i];
			if (!j) break;
			dfs_table(n, m, j, srcln, reach, lpstate);
		}
#endif
	}
	reach[is] &= ~16; /* no longer on stack */
}
void
do_dfs(int n, int m, int is, short srcln[], uchar reach[], uchar lpstate[])
{	int i;
	dfs_table(n, m, is, srcln, reach, lpstate);
	for (i = 0; i < m; i++)
		reach[i] &= ~(4|8|16);
}
void
crack(int n, int j, Trans *z, short srcln[])
{	int i;

	if (!z) return;
	printf("	state %3d -(tr %3d)-> state %3d  ",
		j, z->forw, z->st);
	printf("[id %3d tp %3d", z->t_id, z->tpe[0]);
	if (z->tpe[1]) printf(",%d", z->tpe[1]);
#ifdef HAS_UNLESS
	if (z->e_trans)
		printf(" org %3d", z->e_trans);
	else if (state_tables >= 2)
	for (i = 0; i < HAS_UNLESS; i++)
	{	if (!z->escp[i]) break;
		printf(" esc %d", z->escp[i]);
	}
#endif
	printf("]");
	printf(" [%s%s%s%s%s] %s:%d => ",
		z->atom&6?"A":z->atom&32?"D":"-",
		accpstate[n][j]?"a" :"-",
		stopstate[n][j]?"e" : "-",
		progstate[n][j]?"p" : "-",
		z->atom & 8 ?"L":"G",
		PanSource, srcln[j]);
	for (i = 0; z->tp[i]; i++)
		if (z->tp[i] == '\n')
			printf("\\n");
		else
			putchar(z->tp[i]);
	if (verbose && z->qu[0])
	{	printf("\t[");
		for (i = 0; i < 6; i++)
			if (z->qu[i])
				printf("(%d,%d)",
				z->qu[i], z->ty[i]);
		printf("]");
	}
	printf("\n");
	fflush(stdout);
}
/* spin -a m.pml; cc -o pan pan.c; ./pan -D | dot -Tps > foo.ps; ps2pdf foo.ps */
void
dot_crack(int n, int j, Trans *z)
{	int i;

	if (!z) return;
	printf("	S%d -> S%d  [color=black", j, z->st);

	if (z->atom&6) printf(",style=dashed");
	else if (z->atom&32) printf(",style=dotted");
	else if (z->atom&8) printf(",style=solid");
	else printf(",style=bold");

	printf(",label=\"");
	for (i = 0; z->tp[i]; i++)
	{	if (z->tp[i] == '\\'
		&&  z->tp[i+1] == 'n')
		{	i++; printf(" ");
		} else
		{	putchar(z->tp[i]);
	}	}
	printf("\"];\n");
	if (accpstate[n][j]) printf("  S%d [color=red,style=bold];\n", j);
	else if (progstate[n][j]) printf("  S%d [color=green,style=bold];\n", j);
	if (stopstate[n][j]) printf("  S%d [color=blue,style=bold,shape=box];\n", j);
}

#ifdef VAR_RANGES
#define BYTESIZE	32	/* 2^8 : 2^3 = 256:8 = 32 */

typedef struct Vr_Ptr {
	char	*nm;
	uchar	vals[BYTESIZE];
	struct Vr_Ptr *nxt;
} Vr_Ptr;
Vr_Ptr *ranges = (Vr_Ptr *) 0;

void
logval(char *s, int v)
{	Vr_Ptr *tmp;

	if (v<0 || v > 255) return;
	for (tmp = ranges; tmp; tmp = tmp->nxt)
		if (!strcmp(tmp->nm, s))
			goto found;
	tmp = (Vr_Ptr *) emalloc(sizeof(Vr_Ptr));
	tmp->nxt = ranges;
	ranges = tmp;
	tmp->nm = s;
found:
	tmp->vals[(v)/8] |= 1<<((v)%8);
}

void
dumpval(uchar X[], int range)
{	int w, x, i, j = -1;

	for (w = i = 0; w < range; w++)
	for (x = 0; x < 8; x++, i++)
	{
from:		if ((X[w] & (1<<x)))
		{	printf("%d", i);
			j = i;
			goto upto;
	}	}
	return;
	for (w = 0; w < range; w++)
	for (x = 0; x < 8; x++, i++)
	{
upto:		if (!(X[w] & (1<<x)))
		{	if (i-1 == j)
				printf(", ");
			else
				printf("-%d, ", i-1);
			goto from;
	}	}
	if (j >= 0 && j != 255)
		printf("-255");
}

void
dumpranges(void)
{	Vr_Ptr *tmp;
	printf("\nValues assigned within ");
	printf("interval [0..255]:\n");
	for (tmp = ranges; tmp; tmp = tmp->nxt)
	{	printf("\t%s\t: ", tmp->nm);
		dumpval(tmp->vals, BYTESIZE);
		printf("\n");
	}
}
#endif
