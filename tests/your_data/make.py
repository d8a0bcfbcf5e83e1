"""Writes tgbl-wiki-v2.zip: 240 events in the layout of TGB's archive, with its candidates (NumPy 2).

TGB numbers items behind users; `save_pkl` is `pickle.dump` with the highest protocol.
Run in this folder: python make.py
"""
import pickle
import zipfile

import numpy as np

USERS, ITEMS, EVENTS = 11, 7, 240
events = [(e % USERS, e * 3 % ITEMS, e) for e in range(EVENTS)]
lines = ["user_id,item_id,timestamp,state_label,comma_separated_list_of_features"]
lines += [f"{user},{item},{time}.0,0,{time % 7}.5" for user, item, time in events]
with zipfile.ZipFile("tgbl-wiki-v2.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr("tgbl_wiki/tgbl-wiki_edgelist_v2.csv", "\n".join(lines) + "\n")
    for part, first, end in (("val", 168, 204), ("test", 204, 240)):
        sets = {}
        for user, item, time in events[first:end]:
            others = [USERS + other for other in range(ITEMS) if other != item]
            key = (np.int64(user), np.int64(USERS + item), np.int64(time))
            sets[key] = np.array(others[time % 3 : time % 3 + 3])
        archive.writestr(f"tgbl_wiki/tgbl-wiki_{part}_ns_v2.pkl", pickle.dumps(sets, 4))
