"""The imports of the workload, for timing them: nothing else runs here."""
import matplotlib.pyplot
import pandas
import scipy.stats
import sklearn.linear_model
