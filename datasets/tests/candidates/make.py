"""Writes the pickles beside it, as TGB's `save_pkl` does (NumPy 2.4.6, Python 3.11).

Keys are NumPy's numbers, as they come out of a loop over arrays; the second protocol packs arrays
in another way. Run in this folder: python make.py
"""
import pickle

import numpy as np

src, dst, time = np.array([1, 0]), np.array([6, 3]), np.array([4, 4])
candidates = [np.array([3, 4]), np.array([4.0, 5.0, 6.0])]
sets = {key: values for key, values in zip(zip(src, dst, time), candidates)}
for protocol in (4, 5):
    with open(f"jodie_ns_{protocol}.pkl", "wb") as file:
        pickle.dump(sets, file, protocol)
with open("other_stream_ns.pkl", "wb") as file:
    pickle.dump({(1, 6, 4): candidates[0], (7, 7, 7): candidates[1]}, file, 4)
